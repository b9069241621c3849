#!lua name=pushd_limits_VERSION
--[[
How often something was done lately, added up over all servers: one function.

Each key is one who does it. Its value is the moment at which nothing of what it did will
count any more, in microseconds: so the leaky bucket needs no more than one number, and
what nobody did for a while is no key at all. Nothing is refused here. The servers decide
by what they know (pushd/rates.py), and learn here what the others have let through.
]]

-- Add to what each did.
-- For each key: how much longer that counts, in microseconds.
-- Answers: for how long all that it did will count, in microseconds from now.
local function charge(keys, args)
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local answers = {}
  for i, key in ipairs(keys) do
    local over = math.max(now, tonumber(redis.call('GET', key) or 0)) + tonumber(args[i])
    redis.call('SET', key, string.format('%.0f', over), 'PXAT',
      string.format('%.0f', math.ceil(over / 1000)))
    answers[i] = over - now
  end
  return answers
end

redis.register_function('pushd_limits_VERSION_charge', charge)
