#!lua name=pushd_VERSION
--[[
Every step of a mailbox that must be atomic, as one library of functions.

Theory of operation. The unread messages of an identity are a stream whose entry ids are
the message ids, `<epoch>-<seq>`. Accepting is: is the key known, is there room, append,
publish; in one function, so the order of the stream is the order of the channel. Beside
the stream stands one small packed string, the mailbox's state (STATE below); whoever has
it knows what must be known of a mailbox without looking at the stream.

Epochs. `seq` counts 1, 2, 3... as long as the store can vouch for it. The store's
`master_replid` changes at every restart and promotion; the state says under which one it
was written. Another replid, or a stream that is not there, opens a new epoch, above every
older one. Functions that only read cannot do that: they answer TOUCH for such a mailbox,
the caller opens it (`open` is a write) and asks again. So nobody sees an old epoch's tail.

Expiry. Messages whose expiry is not below that of all before them form a chain, in which
what expires first stands first: it is swept from the head. The exceptions are in a small
sorted set. `due` is never later than the first expiry of all, so a mailbox with nothing
to sweep is recognised by one comparison. Functions that only read answer TOUCH when
something is due; hence no message is returned or counted once it has expired.

Quota. `count` and `bytes` are upper bounds: accepting raises them, removing leaves them,
and only when they reach half of the quota are they set right by the stream's length, the
bytes in proportion. A mailbox that really is above half is *heavy*: then the bounds are
set right at each removal too, and each sender's share is counted, in a hash that is filled
by a scan of at most SWEEP entries a call. Below a quarter it is light again. A full
mailbox *refuses* until it has drained below half, a sender over its share until that
share has drained below half; what was refused is counted for the owner to learn.

Policy. The owner's word on who may write stands in a hash, a verdict for each sender and
one for all others; the state says whether there is one, so that a mailbox without it pays
nothing. Who may not write is refused before any quota is looked at. A policy may name
people: who they are is found out elsewhere, and counts until the time that stands beside
it; then `accept` answers STALE, the caller finds out, writes it here and asks again. Where
somebody is allowed, all others together get four fifths of the quota.

Idempotency. The keys a mailbox remembers are in one hash for each stretch of `dedup`
seconds; a key is looked up in the current and the previous one. Each expires by itself.

Releases. Each has a library of its own, whose name is made of this text, and several act on
one store while it is upgraded, or taken back. So what one keeps the others must keep:

  1. The state only grows at its end. What is behind what a release knows, it leaves as it
     is; what an older one did not write is zero, and zero means what that one did.
  2. No key, field or event changes its meaning. A new one may come if those who do not know
     it do no harm by that.
  3. What they would do harm to raises the mailbox's `format` where it is first used there:
     older releases refuse that mailbox (NEWER), and leave it alone.

Every function takes one key per mailbox, `pushd:{<did>}`, then a header of arguments that
are the same for the whole call, then for each key a run of arguments, and answers an array
with as many items for each key, one if nothing else is said. So calls can be joined, and
all that belongs to a mailbox lies in one Cluster slot. All answer UNKNOWN for a mailbox that
is not there, and NEWER for one of a format that this release does not know.

  pushd:{<did>}           shard channel: messages as JSON objects, all else as words
                          separated by tabs: read, upto, overflow, joined, tick
  pushd:{<did>}:m         state, a packed string; while it exists the mailbox exists
  pushd:{<did>}:s         stream of unread messages; field `m` holds a message as JSON,
                          as it is published and sent
  pushd:{<did>}:x         sorted set of ids by expiry: the exceptions to the chain
  pushd:{<did>}:k:<n>     hash of the n-th stretch: hash of sender and key -> digest, id
  pushd:{<did>}:q         hash, only when heavy: n:<sender> messages, b:<sender> bytes,
                          r:<sender> refused for its share, the same of * for all who
                          are not allowed, @ the last id counted
  pushd:{<did>}:p         hash, the policy: by sender + may write, - may not, ? nobody can
                          tell; * the same of all others, # how many may, @ when the
                          names are stale, = the record of which all this was made
  pushd:{<did>}:o         hash, the overflow: refused, since, told (refused when the owner
                          was told), next (first refusal after that), said (published)
  pushd:{<tick>}:t        nobody's: written so that a WAIT covers what was before
]]

local SWEEP = 100       -- entries looked at beyond the call's own, at most
local STEP = 10         -- of them at a time
local REMOVE = 1000     -- entries a cumulative ack removes one by one, at most
local PAGE = 4194304    -- bytes of messages after which a page ends
local DAY = 86400
local MEMORY = 90 * DAY -- an empty mailbox that nobody used is forgotten after this
local NEVER = 2 ^ 53
local MOST = 1000       -- arguments passed to one command, at most
local ONE = 0.5         -- of its quota a mailbox holds from one sender, at most
local OTHERS = 0.8      -- and from all together who are not allowed, if some are

local DIGEST = 8        -- bytes of the payload's digest in front of a remembered id

local TOUCH = 0         -- answers that are not results, see translation.py
local UNKNOWN = 1
local CONFLICT = 2
local FULL = 3
local SHARE = 4
local KEYS_FULL = 5
local MORE = 6
local DONE = 7
local FORBIDDEN = 8
local STALE = 9
local NEWER = 10
local QUIET = 11

local FORMAT = 1        -- the highest format of a mailbox that this release knows

-- Bound by the first call: no library can be had while this one is loading.
local call, try, format, match, pack_state, unpack_state

-- Of the running call.
local now, now_text, micros, source, limits

local function begin()
  call, try = redis.call, redis.pcall
  format, match = string.format, string.match
  pack_state, unpack_state = struct.pack, struct.unpack
  local time = call('TIME')
  now_text, now = time[1], tonumber(time[1])
  micros = now * 1000000 + time[2]
  local info = call('INFO', 'replication')
  local _, last = string.find(info, 'master_replid:', 1, true)
  source = string.sub(info, last + 1, last + 16)
end

-- Limits of every mailbox, the header of the functions that count; kept, for most calls
-- have the same.
local limits_of = {}

local function limit(args)
  if args[1] ~= limits_of[1] or args[2] ~= limits_of[2] or args[3] ~= limits_of[3] then
    limits_of = {args[1], args[2], args[3]}
    local messages, bytes = tonumber(args[1]), tonumber(args[2])
    limits = {
      messages = messages, half_messages = messages / 2, quarter_messages = messages / 4,
      bytes = bytes, half_bytes = bytes / 2, quarter_bytes = bytes / 4,
      keys = 4 * messages, dedup = tonumber(args[3]),
    }
  end
  local stretch = math.floor(now / limits.dedup)
  if stretch ~= limits.stretch then
    limits.stretch, limits.remembered = stretch, ':k:' .. format('%d', stretch)
  end
end

--- State -----------------------------------------------------------------------------

-- source      the head of the master_replid under which this epoch was opened
-- epoch, seq  the last id assigned
-- latest      the latest expiry in the chain
-- count, bytes  upper bounds of the unread messages and their size
-- keys        how many keys are remembered; seq to keys is what grows with most messages,
--             and is written alone where nothing else changed
-- due         nothing expires before this
-- kept        the keys' time to live reaches at least a day beyond this
-- stretch     the stretch of time whose hash of keys has its time to live
-- past, odd, heavy, refusing, overflow  flags: the previous stretch has keys; there are
--             exceptions to the chain; shares are counted; full; there is an overflow
-- policy      0 none, 1 there is one, 2 one that allows somebody by name or key
-- pure        the epoch of which all messages are, as far as that is known
-- format      the format a release has to know to do no harm, 0 and 1 the first
local STATE = '<c16dddddddddBBBBBBBd'
local GROWN, GROWN_AT = '<ddddd', 24
local SIZE = 16 + 9 * 8 + 7 + 8

-- The one mailbox at hand, in variables: a field of a table is several times as dear.
local m_key, m_stream, m_changed, m_grown, m_renewed
local m_source, m_epoch, m_seq, m_latest, m_count, m_bytes, m_keys, m_due, m_kept,
  m_stretch, m_past, m_odd, m_heavy, m_refusing, m_overflow, m_policy, m_format, m_pure

-- The packed states of the running call, by key, as one command read those of all its
-- keys; true for one that was written since.
local states

local function begin_with(keys)
  begin()
  states = {}
  local names, count = {}, #keys
  for first = 1, count, MOST do
    local last = math.min(first + MOST - 1, count)
    for i = first, last do names[i - first + 1] = keys[i] .. ':m' end
    local found = call('MGET', unpack(names, 1, last - first + 1))
    for i = first, last do states[keys[i]] = found[i - first + 1] end
  end
end

-- Take up a mailbox; else return why not, as it is answered.
local function load(key)
  local packed = states[key]
  if not packed then return UNKNOWN end
  if packed == true then packed = call('GET', key .. ':m') end
  if #packed < SIZE then packed = packed .. string.rep('\0', SIZE - #packed) end
  m_key, m_stream, m_changed, m_grown, m_renewed = key, key .. ':s', false, false, false
  m_source, m_epoch, m_seq, m_latest, m_count, m_bytes, m_keys, m_due, m_kept, m_stretch,
    m_past, m_odd, m_heavy, m_refusing, m_overflow, m_policy, m_format, m_pure =
    unpack_state(STATE, packed)
  if m_format > FORMAT then return NEWER end
  return nil
end

-- What the state says of a policy, by the policy itself.
local function policy_of()
  local allowed = call('HGET', m_key .. ':p', '#')
  return not allowed and 0 or allowed == '0' and 1 or 2
end

local function create(key)
  m_key, m_stream, m_changed, m_grown, m_renewed = key, key .. ':s', true, false, false
  m_source, m_epoch, m_seq, m_latest, m_count, m_bytes, m_keys = '', 0, 0, 0, 0, 0, 0
  m_due, m_kept, m_stretch = NEVER, 0, 0
  m_past, m_odd, m_heavy, m_refusing, m_overflow = 0, 0, 0, 0, 0
  m_policy, m_format, m_pure = policy_of(), 0, 0
end

local function save()
  if not m_changed then
    if m_grown then
      local grown = pack_state(GROWN, m_seq, m_latest, m_count, m_bytes, m_keys)
      call('SETRANGE', m_key .. ':m', GROWN_AT, grown)
      states[m_key] = true
    end
    return
  end
  local packed = pack_state(STATE, m_source, m_epoch, m_seq, m_latest, m_count, m_bytes,
    m_keys, m_due, m_kept, m_stretch, m_past, m_odd, m_heavy, m_refusing, m_overflow,
    m_policy, m_format, m_pure)
  local had = states[m_key]
  if had == true then had = call('GET', m_key .. ':m') end
  if had and #had > SIZE then packed = packed .. string.sub(had, SIZE + 1) end
  if m_renewed then
    call('SET', m_key .. ':m', packed, 'EXAT', m_kept + DAY + MEMORY)
  else
    call('SETRANGE', m_key .. ':m', 0, packed)
  end
  states[m_key] = packed
end

local function id_of(epoch, seq)
  return format('%d-%d', epoch, seq)
end

local function parse(id)
  local epoch, seq = match(id, '^(%d+)-(%d+)$')
  return tonumber(epoch), tonumber(seq)
end

local function keep_policy()
  call('EXPIREAT', m_key .. ':p', m_kept + 2 * DAY + MEMORY)
end

-- Let the keys live for as long as a message may, and then some, renewed once a day.
local function keep()
  local horizon = m_latest > now and m_latest or now
  if horizon <= m_kept + DAY then return end
  m_kept, m_renewed, m_changed = horizon, true, true
  local gone = horizon + 2 * DAY
  call('EXPIREAT', m_stream, gone)
  if m_odd == 1 then call('EXPIREAT', m_key .. ':x', gone) end
  if m_heavy == 1 then call('EXPIREAT', m_key .. ':q', gone) end
  if m_policy > 0 then keep_policy() end
end

local function expiry(message)
  return tonumber(string.sub(message, -11, -2))
end

-- A mailbox that lost its state is made over the messages it had.
local function adopt()
  local last = call('XREVRANGE', m_stream, '+', '-', 'COUNT', 1)[1]
  if not last then return end
  m_count, m_latest, m_due = call('XLEN', m_stream), expiry(last[2][2]), 0
  m_bytes, m_odd = m_count * #last[2][2], call('EXISTS', m_key .. ':x')
end

local function new_epoch()
  local top, exists = 0, call('EXISTS', m_stream) == 1
  if exists then
    local info = call('XINFO', 'STREAM', m_stream)
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then top = parse(info[i + 1]) end
    end
    if m_epoch == 0 then adopt() end
  else
    m_count, m_bytes, m_latest, m_due = 0, 0, 0, NEVER
    m_odd, m_heavy, m_refusing = 0, 0, 0
    call('DEL', m_key .. ':x', m_key .. ':q')
  end
  m_source, m_seq, m_changed, m_kept = source, 0, true, 0
  m_epoch = math.max(micros, m_epoch + 1, top + 1)
  if not exists then m_pure = m_epoch end
  -- An entry that is gone at once: the stream exists, and its next id is above this.
  local zero = id_of(m_epoch, 0)
  call('XADD', m_stream, zero, 'm', '')
  call('XDEL', m_stream, zero)
  keep()
end

--- Removal ---------------------------------------------------------------------------

local function sender_of(message)
  return match(message, '"from":{"did":"([^"]+)"')
end

-- Whether the id is among those whose senders have been counted.
local function counted(id, last)
  local epoch, seq = parse(id)
  local last_epoch, last_seq = parse(last)
  return epoch < last_epoch or (epoch == last_epoch and seq <= last_seq)
end

-- Add to what is counted of a sender, and of those together who are not allowed.
local function count_share(sender, messages, bytes)
  local shares = m_key .. ':q'
  call('HINCRBY', shares, 'n:' .. sender, messages)
  call('HINCRBY', shares, 'b:' .. sender, bytes)
  if m_policy == 2 and call('HGET', m_key .. ':p', sender) ~= '+' then
    call('HINCRBY', shares, 'n:*', messages)
    call('HINCRBY', shares, 'b:*', bytes)
  end
end

-- Take entries out of the stream and out of all that is kept about them.
local function remove(entries)
  if #entries == 0 then return 0 end
  local ids = {}
  local last = m_heavy == 1 and call('HGET', m_key .. ':q', '@')
  for i, entry in ipairs(entries) do
    ids[i] = entry[1]
    if last and counted(entry[1], last) then
      count_share(sender_of(entry[2][2]), -1, -#entry[2][2])
    end
  end
  if m_odd == 1 then call('ZREM', m_key .. ':x', unpack(ids)) end
  return call('XDEL', m_stream, unpack(ids))
end

-- Set the bounds right by the stream's length.
local function correct()
  local length = call('XLEN', m_stream)
  if m_count > 0 then m_bytes = m_bytes * length / m_count end
  m_count, m_changed = length, true
  if length == 0 then m_bytes = 0 end
end

-- After a removal: perhaps the mailbox is no longer full, heavy, or has no exceptions.
local function relax()
  if m_odd == 1 and call('EXISTS', m_key .. ':x') == 0 then
    m_odd, m_changed = 0, true
  end
  if m_heavy == 0 then return end
  correct()
  if m_count < limits.half_messages and m_bytes < limits.half_bytes then
    m_refusing = 0
  end
  if m_count < limits.quarter_messages and m_bytes < limits.quarter_bytes then
    m_heavy = 0
    call('DEL', m_key .. ':q')
  end
end

-- Remove expired messages, SWEEP of the chain and SWEEP exceptions at most.
local function sweep()
  local chain, due = {}, NEVER
  local from = '-'
  repeat
    local entries = call('XRANGE', m_stream, from, '+', 'COUNT', STEP)
    for _, entry in ipairs(entries) do
      due = expiry(entry[2][2])
      if due > now then break end
      chain[#chain + 1] = entry
      from = '(' .. entry[1]
    end
  until due > now or #entries < STEP or #chain >= SWEEP
  remove(chain)
  if m_odd == 1 then
    local odd = {}
    local set = m_key .. ':x'
    for _, id in ipairs(call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, SWEEP)) do
      call('ZREM', set, id)
      odd[#odd + 1] = call('XRANGE', m_stream, id, id)[1]
    end
    remove(odd)
    local first = call('ZRANGE', set, 0, 0, 'WITHSCORES')
    if first[1] then due = math.min(due, tonumber(first[2])) end
  end
  if due <= now and call('XLEN', m_stream) == 0 then due = NEVER end
  m_due, m_changed = due, true
  relax()
end

-- Bring the mailbox in order; every function that writes begins with it.
local function settle()
  if m_source ~= source then new_epoch() end
  if now >= m_due then sweep() end
  keep()
end

-- Whether a function that only reads may answer for this mailbox.
local function settled()
  return m_source == source and now < m_due and now <= m_kept + DAY
    and call('EXISTS', m_stream) == 1
end

--- Policy ----------------------------------------------------------------------------

-- Why the owner's policy keeps a message out, or nil.
local function verdict(body)
  local policy = call('HMGET', m_key .. ':p', sender_of(body), '*', '@')
  local said = policy[1] or policy[2]
  if said == '?' or (policy[3] and now >= tonumber(policy[3])) then return STALE end
  return said == '-' and FORBIDDEN or nil
end

--- Quota -----------------------------------------------------------------------------

-- Count the senders of at most SWEEP more entries.
local function count_senders()
  local shares = m_key .. ':q'
  local last = call('HGET', shares, '@')
  local from = last and '(' .. last or '-'
  local entries = call('XRANGE', m_stream, from, '+', 'COUNT', SWEEP)
  for _, entry in ipairs(entries) do
    count_share(sender_of(entry[2][2]), 1, #entry[2][2])
    last = entry[1]
  end
  if last then call('HSET', shares, '@', last) end
  if from == '-' then call('EXPIREAT', shares, m_kept + 2 * DAY) end
end

-- Whether a message is too much for a sender, or for `*`, who may have a part of the quota.
local function over_share(sender, size, part)
  local shares = m_key .. ':q'
  local share = call('HMGET', shares, 'n:' .. sender, 'b:' .. sender, 'r:' .. sender)
  local count, bytes = tonumber(share[1] or 0), tonumber(share[2] or 0)
  local messages, room = part * limits.messages, part * limits.bytes
  if count + 1 > math.max(1, messages) or bytes + size > room then
    call('HSET', shares, 'r:' .. sender, 1)
    return true
  end
  if not share[3] then return false end
  if count >= messages / 2 or bytes >= room / 2 then return true end
  call('HDEL', shares, 'r:' .. sender)
  return false
end

local function share_refused(body)
  count_senders()
  local sender, size = sender_of(body), #body
  if over_share(sender, size, ONE) then return true end
  return m_policy == 2 and call('HGET', m_key .. ':p', sender) ~= '+'
    and over_share('*', size, OTHERS)
end

-- Why this message may not be stored, or nil.
local function refusal(body)
  local barred = m_policy > 0 and verdict(body)
  if barred then return barred end
  local size = #body
  if m_heavy == 0 and m_count + 1 <= limits.half_messages
    and m_bytes + size <= limits.half_bytes then
    return nil
  end
  correct()
  if m_refusing == 1 then
    if m_count >= limits.half_messages or m_bytes >= limits.half_bytes then return FULL end
    m_refusing = 0
  end
  if m_count + 1 > limits.half_messages or m_bytes + size > limits.half_bytes then
    m_heavy = 1
  end
  if m_count + 1 > limits.messages or m_bytes + size > limits.bytes then
    m_refusing = 1
    return FULL
  end
  if m_heavy == 1 and share_refused(body) then return SHARE end
  return nil
end

-- Count a refusal for the owner, and say so at most once a minute.
local function refuse(code)
  local overflow = m_key .. ':o'
  local refused = call('HINCRBY', overflow, 'refused', 1)
  call('HSETNX', overflow, 'since', now)
  local had = call('HMGET', overflow, 'said', 'told', 'since')
  if had[2] then call('HSETNX', overflow, 'next', now) end
  call('EXPIREAT', overflow, now + MEMORY)
  m_overflow, m_changed = 1, true
  if not had[1] or now >= had[1] + 60 then
    call('HSET', overflow, 'said', now)
    call('SPUBLISH', m_key, 'overflow\t' .. refused .. '\t' .. had[3])
  end
  return code
end

-- What the owner was not yet told: refused and since, zeros for nothing.
local function overflow_of()
  if m_overflow == 0 then return 0, 0 end
  local overflow = call('HMGET', m_key .. ':o', 'refused', 'since')
  return tonumber(overflow[1] or 0), tonumber(overflow[2] or 0)
end

--- accept ----------------------------------------------------------------------------

-- What is remembered under a key's hash in the stretch before this one.
local function look_back(hash)
  if m_stretch == limits.stretch and m_past == 0 then return nil end
  local previous = m_key .. ':k:' .. format('%d', limits.stretch - 1)
  if m_stretch ~= limits.stretch then
    local past = call('HLEN', previous)
    m_past = past > 0 and 1 or 0
    m_keys = past + call('HLEN', m_key .. limits.remembered)
    m_changed = true
  end
  return call('HGET', previous, hash)
end

-- Append to the stream, in a new epoch if the stream is not there or is further on.
local function append(id, body, ends)
  local message = '{"id":"' .. id .. '"' .. body .. ends
  local added = try('XADD', m_stream, 'NOMKSTREAM', id, 'm', message)
  if added ~= id then
    new_epoch()
    id = id_of(m_epoch, 1)
    message = '{"id":"' .. id .. '"' .. body .. ends
    call('XADD', m_stream, id, 'm', message)
  end
  m_seq = m_seq + 1
  return id, message
end

-- Note when the message that was just appended expires.
local function schedule(expires, id)
  if expires < m_due then m_due, m_changed = expires, true end
  if expires >= m_latest or call('XLEN', m_stream) == 1 then
    m_latest = expires
    keep()
  else
    call('ZADD', m_key .. ':x', expires, id)
    if m_odd == 0 then call('EXPIREAT', m_key .. ':x', m_kept + 2 * DAY) end
    m_odd, m_changed = 1, true
  end
end

-- The end of a message that lives `ttl` seconds, and when it expires; the last is kept,
-- because formatting numbers is dear and most messages of a call live equally long.
local last_ttl, last_now, last_end, last_expires

local function ending(ttl)
  if ttl ~= last_ttl or now ~= last_now then
    last_ttl, last_now, last_expires = ttl, now, now + ttl
    last_end = ',"at":' .. now_text .. ',"expires":' .. format('%d', last_expires) .. '}'
  end
  return last_end, last_expires
end

-- What is remembered under a key's hash; if nothing, remember `id` from now on, unless the
-- message is refused.
local function recall(remembered, hash, digest, id, refused)
  local known = look_back(hash)
  if known then return known end
  if not refused and m_keys < limits.keys then
    if call('HSETNX', remembered, hash, digest .. id) == 1 then return nil end
  end
  return call('HGET', remembered, hash)
end

local function store(body, ttl, hash, digest)
  local refused = refusal(body)
  local next_id = id_of(m_epoch, m_seq + 1)
  local remembered = hash ~= '' and m_key .. limits.remembered
  if remembered then
    local known = recall(remembered, hash, digest, next_id, refused)
    if known then
      if string.sub(known, 1, DIGEST) ~= digest then return CONFLICT end
      return {string.sub(known, DIGEST + 1)}
    end
    if m_keys >= limits.keys then refused = refused or KEYS_FULL end
  end
  if refused == FORBIDDEN or refused == STALE then return refused end
  if refused then return refuse(refused) end

  local ends, expires = ending(ttl)
  local id, message = append(next_id, body, ends)
  schedule(expires, id)
  if remembered then
    if id ~= next_id then call('HSET', remembered, hash, digest .. id) end
    if m_stretch ~= limits.stretch then
      call('EXPIREAT', remembered, (limits.stretch + 2) * limits.dedup)
      m_stretch, m_changed = limits.stretch, true
    end
    m_keys = m_keys + 1
  end
  m_count, m_bytes, m_grown = m_count + 1, m_bytes + #message, true
  call('SPUBLISH', m_key, message)
  return id
end

-- Store messages and publish them.
-- Header: quota in messages, quota in bytes, seconds of a stretch of keys.
-- For each key: body, seconds until it expires, hash of sender and key ('' for no key),
-- digest of the payload.
-- Answers: its id; if the key was known {id of the first}; CONFLICT, FORBIDDEN, STALE, or why
-- it is full.
local function accept(keys, args)
  begin_with(keys)
  limit(args)
  local replies, last, closed, n = {}, nil, UNKNOWN, 4
  for i, key in ipairs(keys) do
    if key ~= last then
      if not closed then save() end
      last, closed = key, load(key)
      if not closed then settle() end
    end
    replies[i] = closed or store(args[n], args[n + 1], args[n + 2], args[n + 3])
    n = n + 4
  end
  if not closed then save() end
  return replies
end

--- open ------------------------------------------------------------------------------

-- Come in as the owner, or bring a mailbox in order that answered TOUCH.
-- Header: as accept.
-- For each key: 1 to make it if it is not there, else 0; what to publish, or ''; how many
-- ids the owner still holds, and those.
-- Answers: {1 if there is more to sweep, tail, unread, refused, since, those of the ids
-- that are gone...}.
local function open(keys, args)
  begin_with(keys)
  limit(args)
  local replies, n = {}, 4
  for i, key in ipairs(keys) do
    local make, publication, holding = args[n], args[n + 1], tonumber(args[n + 2])
    local closed = load(key)
    if closed == UNKNOWN and make == '1' then closed = create(key) end
    if not closed then
      if m_source == source and call('EXISTS', m_stream) == 0 then new_epoch() end
      settle()
      local refused, since = overflow_of()
      local reply = {now >= m_due and 1 or 0, id_of(m_epoch, m_seq),
        call('XLEN', m_stream), refused, since}
      for h = n + 3, n + 2 + holding do
        if not call('XRANGE', m_stream, args[h], args[h])[1] then
          reply[#reply + 1] = args[h]
        end
      end
      if publication ~= '' then call('SPUBLISH', key, publication) end
      save()
      replies[i] = reply
    else
      replies[i] = closed
    end
    n = n + 3 + holding
  end
  return replies
end

--- read, tails -----------------------------------------------------------------------

-- Fill `reply` with ids and messages after an id; true if nothing follows the last.
local function page(reply, after, count)
  local bytes, found = 0, 0
  while true do
    local wanted = math.min(count - found + 1, SWEEP)
    local entries = call('XRANGE', m_stream, '(' .. after, '+', 'COUNT', wanted)
    for _, entry in ipairs(entries) do
      local body = entry[2][2]
      bytes = bytes + #body
      if found == count or (found > 0 and bytes > PAGE) then return false end
      found, after = found + 1, entry[1]
      reply[#reply + 1] = after
      reply[#reply + 1] = body
    end
    if #entries < wanted then return true end
  end
end

-- Read messages in order.
-- For each key: the id after which to begin, how many messages at most.
-- Answers: TOUCH, or {1 if nothing follows, tail, unread, refused, since, id,
-- message, id, message...}.
local function read(keys, args)
  begin_with(keys)
  local replies = {}
  for i, key in ipairs(keys) do
    local closed = load(key) or (not settled() and TOUCH)
    if closed then
      replies[i] = closed
    else
      local refused, since = overflow_of()
      local reply = {0, id_of(m_epoch, m_seq), call('XLEN', m_stream), refused, since}
      if page(reply, args[2 * i - 1], tonumber(args[2 * i])) then reply[1] = 1 end
      replies[i] = reply
    end
  end
  return replies
end

-- Tell the last id assigned.
-- Answers: TOUCH, or the tail.
local function tails(keys)
  begin_with(keys)
  local replies = {}
  for i, key in ipairs(keys) do
    replies[i] = load(key) or (settled() and id_of(m_epoch, m_seq) or TOUCH)
  end
  return replies
end

--- acknowledge -----------------------------------------------------------------------

-- Remove the messages whose ids are the arguments from `first` to `last`.
local function remove_ids(args, first, last)
  if m_odd == 0 and m_heavy == 0 then
    return call('XDEL', m_stream, unpack(args, first, last))
  end
  local entries, seen = {}, {}
  for i = first, last do
    local id = args[i]
    if not seen[id] then
      seen[id] = true
      entries[#entries + 1] = call('XRANGE', m_stream, id, id)[1]
    end
  end
  return remove(entries)
end

-- Whether no message of an older epoch is left.
local function nothing_before(epoch)
  if m_pure == m_epoch then return epoch == m_epoch end
  -- Asked so that none comes as the answer.
  if #call('XRANGE', m_stream, '-', id_of(epoch, 0), 'COUNT', 1) > 0 then return false end
  if epoch == m_epoch then m_pure, m_changed = m_epoch, true end
  return true
end

-- Remove what is left of an epoch, in front of a number; also true if there is more to
-- remove. Both come as text: a sum makes them numbers, where `tonumber` would read a text
-- twice; and no id is made of numbers, which takes a third of what a command does.
local function remove_before(epoch, seq)
  local before = epoch .. '-' .. seq
  epoch, seq = epoch + 0, seq + 0
  if epoch > m_epoch or (epoch == m_epoch and seq > m_seq + 1) then return 0, false end
  if m_odd == 0 and m_heavy == 0 and nothing_before(epoch) then
    return call('XTRIM', m_stream, 'MINID', before), false
  end
  local entries =
    call('XRANGE', m_stream, id_of(epoch, 0), '(' .. before, 'COUNT', REMOVE)
  return remove(entries), #entries == REMOVE
end

-- Say what was acked, and by whom: up to an id, or the ids from `first` to `last`.
local function publish_ack(args, first, last, upto, origin)
  local what = upto and 'upto\t' .. id_of(args[first], args[last] - 1)
    or 'read\t' .. table.concat(args, ' ', first, last)
  call('SPUBLISH', m_key, what .. '\t' .. origin)
end

-- How many connections hear each of these channels.
local function hearers(keys)
  local counts = {}
  for first = 1, #keys, MOST do
    local last = math.min(first + MOST - 1, #keys)
    local found = call('PUBSUB', 'SHARDNUMSUB', unpack(keys, first, last))
    for i = first, last do counts[i] = found[2 * (i - first) + 2] end
  end
  return counts
end

-- Remove messages and say so, where anybody is to hear it.
-- Header: as accept.
-- For each key: who acks; 1 if that is who alone hears the channel at the caller, more by 2
-- to count the unread; 0 and an epoch and the first seq of it that stays, or how many ids and
-- those.
-- Answers: how many were removed, below zero if it was said to nobody, for nobody but who acks
-- hears it. So most are answered, for more than a number is dear; who counts, or has not done
-- all, gets {DONE, MORE if there is more to remove, or QUIET if it was said to nobody; removed;
-- unread, -1 if not counted}.
local function acknowledge(keys, args)
  begin_with(keys)
  limit(args)
  local hearing, replies, n = hearers(keys), {}, 4
  for i, key in ipairs(keys) do
    -- Compared as text.
    local origin, how, count = args[n], args[n + 1], args[n + 2]
    local alone, upto = how == '1' or how == '3', count == '0'
    local last = n + 2 + (upto and 2 or count)
    local counts = how == '2' or how == '3'
    local outcome, removed, unread = load(key), 0, -1
    if not outcome then
      settle()
      local more = false
      outcome = DONE
      if upto then
        removed, more = remove_before(args[last - 1], args[last])
      else
        removed = remove_ids(args, n + 3, last)
      end
      if removed > 0 then
        relax()
        if hearing[i] > (alone and 1 or 0) then
          publish_ack(args, n + 3, last, upto, origin)
        elseif alone then
          outcome = QUIET
        end
      end
      if more then outcome = MORE end
      if counts then unread = call('XLEN', m_stream) end
      save()
    end
    if counts or (outcome ~= DONE and outcome ~= QUIET) then
      replies[i] = {outcome, removed, unread}
    else
      replies[i] = outcome == QUIET and -removed or removed
    end
    n = last + 1
  end
  return replies
end

--- policy, set_policy ----------------------------------------------------------------

-- Read policies.
-- Answers: the record of the policy, '' without one.
local function policy(keys)
  begin_with(keys)
  local replies = {}
  for i, key in ipairs(keys) do
    replies[i] = load(key) or call('HGET', key .. ':p', '=') or ''
  end
  return replies
end

-- Write another policy in place of the one there is, from the argument at `n` on: record,
-- verdict on all others, how many are allowed, how many verdicts, and those.
local function replace_policy(args, n)
  local policy, last = m_key .. ':p', n + 3 + 2 * args[n + 3]
  call('DEL', policy)
  if args[n] ~= '' then
    call('HSET', policy, '=', args[n], '*', args[n + 1], '#', args[n + 2])
  end
  for first = n + 4, last, MOST do
    call('HSET', policy, unpack(args, first, math.min(first + MOST - 1, last)))
  end
  -- Who counts as one of the others may have changed: count anew.
  if m_heavy == 1 then call('DEL', m_key .. ':q') end
  m_policy, m_changed = policy_of(), true
end

-- Set policies.
-- Header: as accept.
-- For each key: the record that is to be replaced, '' for whatever there is; seconds until
-- the names are stale, 0 for never; then as `replace_policy`: '', '', 0, 0 for no policy.
-- Answers: 'OK', also if another record stands there meanwhile.
local function set_policy(keys, args)
  begin_with(keys)
  limit(args)
  local replies, n = {}, 4
  for i, key in ipairs(keys) do
    local instead, fresh, record = args[n], tonumber(args[n + 1]), args[n + 2]
    replies[i] = load(key)
    if not replies[i] then
      settle()
      local had = call('HGET', key .. ':p', '=') or ''
      if instead == '' or instead == had then
        if record ~= had then replace_policy(args, n + 2) end
        if fresh > 0 then call('HSET', key .. ':p', '@', now + fresh) end
        if m_policy > 0 then keep_policy() end
      end
      save()
      replies[i] = 'OK'
    end
    n = n + 6 + 2 * args[n + 5]
  end
  return replies
end

--- told, tick, mark ------------------------------------------------------------------

-- Note how many refusals the owner was told of; forget them once accepting again.
local function forget_overflow(told)
  local overflow = m_key .. ':o'
  local had = call('HMGET', overflow, 'refused', 'told', 'next')
  local refused = tonumber(had[1] or 0)
  told = math.min(refused, math.max(told, tonumber(had[2] or 0)))
  if m_refusing == 1 then
    call('HSET', overflow, 'told', told)
    if told == refused then call('HDEL', overflow, 'next') end
  elseif told == refused then
    call('DEL', overflow)
    m_overflow, m_changed = 0, true
  else
    call('HSET', overflow, 'refused', refused - told, 'since', had[3] or now)
    call('HDEL', overflow, 'told', 'next')
  end
end

-- The owner was told of an overflow.
-- Header: as accept. For each key: the number refused that it was told.
-- Answers: 'OK'.
local function told(keys, args)
  begin_with(keys)
  limit(args)
  local replies = {}
  for i, key in ipairs(keys) do
    replies[i] = load(key)
    if not replies[i] then
      settle()
      if m_heavy == 1 then relax() end
      if m_overflow == 1 then forget_overflow(tonumber(args[3 + i])) end
      save()
      replies[i] = 'OK'
    end
  end
  return replies
end

-- Publish a number on a channel, to prove that publications arrive.
-- For each key: the number.
-- Answers: 'OK'.
local function tick(keys, args)
  call = redis.call
  local replies = {}
  for i, key in ipairs(keys) do
    call('SPUBLISH', key, 'tick\t' .. args[i])
    replies[i] = 'OK'
  end
  return replies
end

-- Write a little, so that a WAIT behind it covers all that was written before, by anybody.
-- Answers: 'OK'.
local function mark(keys)
  redis.call('SET', keys[1] .. ':t', '', 'EX', DAY)
  return 'OK'
end

-- Without allow-oom a full store could not be emptied.
redis.register_function{function_name = 'pushd_VERSION_accept', callback = accept}
redis.register_function{
  function_name = 'pushd_VERSION_open', callback = open, flags = {'allow-oom'}}
redis.register_function{
  function_name = 'pushd_VERSION_read', callback = read, flags = {'no-writes'}}
redis.register_function{
  function_name = 'pushd_VERSION_tails', callback = tails, flags = {'no-writes'}}
redis.register_function{
  function_name = 'pushd_VERSION_acknowledge', callback = acknowledge, flags = {'allow-oom'}}
redis.register_function{
  function_name = 'pushd_VERSION_policy', callback = policy, flags = {'no-writes'}}
redis.register_function{function_name = 'pushd_VERSION_set_policy', callback = set_policy}
redis.register_function{
  function_name = 'pushd_VERSION_told', callback = told, flags = {'allow-oom'}}
redis.register_function{
  function_name = 'pushd_VERSION_tick', callback = tick, flags = {'allow-oom'}}
redis.register_function{
  function_name = 'pushd_VERSION_mark', callback = mark, flags = {'allow-oom'}}
