/* Makes load on a push server and counts what comes back: recipients, each with a
 * websocket, and senders, each with a connection that is kept.
 *
 *     load PORT [PORT OF THE SENDERS]
 *
 * One thread and one epoll, so that it takes less of a core than the server it loads.
 * It is told what to do by lines on standard input and answers each with one line of
 * JSON, all its counters, when that is done. It judges nothing: durations, differences
 * and the processor time of others are for who drives it to measure.
 *
 *     wire text|binary PATH  talk as this file says, see struct wire; frames are of this kind
 *     hellos PATH            use the first frames in this file, in turn
 *     posts PATH             use the requests in this file, in turn
 *     answer KIND            what recipients answer to messages, see enum kind
 *     connect N WIDTH        have N more recipients that caught up; WIDTH connect at a time
 *     disconnect             drop all recipients
 *     storm N WIDTH          connect, catch up and drop, N times, WIDTH at a time
 *     deliver SENDERS RATE   post from now on, each sender on a new connection: RATE a
 *                            second at random moments, or, if it is 0, each as soon as
 *                            it has its answer
 *     fill SENDERS N         post N times, as fast as it goes
 *     stop                   post no more, and wait for the answers
 *     note PATH              write down of each message from now on, in this file, when it
 *                            was due and when it came: two numbers of 8 bytes
 *     sample                 tell the counters; latencies are counted anew after that
 *
 * A file holds records: a length (4 bytes, little-endian) and as many bytes. In what is
 * sent each run of sixteen `#` is replaced by a number never used before, each of sixteen
 * `%` by the number of the sender, and each of sixteen `@` by the time at which the request
 * was due; all are hexadecimal. A payload begins with `due=` and that time, by which
 * recipients know it in whatever it is wrapped.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MARK = 16, MASK = 4, EVENTS = 512, SCRATCH = 1 << 20, CURSOR = 64 };

#define SECOND 1000000000ull

static _Noreturn void die(const char *what) {
  perror(what);
  exit(1);
}

static void *must(void *memory) {
  if (!memory) die("memory");
  return memory;
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* xorshift64*, for masks and for the gaps between requests */
static uint64_t chance(void) {
  static uint64_t state = 0x9e3779b97f4a7c15ull;
  state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
  return state * 0x2545f4914f6cdd1dull;
}

static void hex(char *at, uint64_t number) {
  for (int i = MARK - 1; i >= 0; i--, number >>= 4) at[i] = "0123456789abcdef"[number & 15];
}

/* --- what is counted ----------------------------------------------------------------- */

static struct {
  uint64_t recipients, connects, posts, answers, accepted, refused, frames, messages, acks,
      failures;
} count;

static void fail(const char *what, const char *data, size_t size) {
  if (count.failures++ == 0)
    fprintf(stderr, "load: %s: %.*s\n", what, (int)(size > 400 ? 400 : size), data);
}

/* Latencies by octave, each cut into 64 parts: less than 2 % off. */
enum { OCTAVES = 40, PARTS = 64 };
static uint64_t latencies[OCTAVES * PARTS], latencies_total;

static void count_latency(uint64_t ns) {
  unsigned octave = 0;
  while (ns >> octave >= 2 * PARTS && octave < OCTAVES - 2) octave++;
  uint64_t part = ns >> octave;
  if (part >= 2 * PARTS) part = 2 * PARTS - 1;
  latencies[octave * PARTS + part]++;
  latencies_total++;
}

static FILE *notes;

static void note(uint64_t was_due, uint64_t arrived) {
  uint64_t times[] = {was_due, arrived};
  fwrite(times, sizeof times, 1, notes);
}

static double latency_us(double quantile) {
  uint64_t wanted = (uint64_t)(quantile * (double)latencies_total), seen = 0;
  for (unsigned i = 0; i < OCTAVES * PARTS; i++) {
    seen += latencies[i];
    if (seen <= wanted) continue;
    unsigned octave = i < 2 * PARTS ? 0 : i / PARTS - 1;
    return (double)((uint64_t)(i - octave * PARTS) << octave) / 1000;
  }
  return 0;
}

static void answer(void) {
  printf("{\"ns\":%lu,\"recipients\":%lu,\"connects\":%lu,\"posts\":%lu,\"answers\":%lu,"
         "\"accepted\":%lu,\"refused\":%lu,\"frames\":%lu,\"messages\":%lu,\"acks\":%lu,"
         "\"failures\":%lu,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
         now(), count.recipients, count.connects, count.posts, count.answers,
         count.accepted, count.refused, count.frames, count.messages, count.acks,
         count.failures, latency_us(.5), latency_us(.99));
  fflush(stdout);
}

/* --- records ------------------------------------------------------------------------- */

struct marks {
  uint32_t count, *at;
};

struct record {
  char *data;
  uint32_t size;
  struct marks numbers, times, senders;
};

struct records {
  char *file;
  struct record *list;
  size_t count, next;
};

static struct records hellos, posts, words;

static struct marks find_marks(const struct record *record, char letter) {
  char mark[MARK];
  memset(mark, letter, MARK);
  struct marks found = {0};
  char *from = record->data, *end = record->data + record->size;
  while ((from = memmem(from, (size_t)(end - from), mark, MARK))) {
    found.at = must(realloc(found.at, (found.count + 1) * sizeof *found.at));
    found.at[found.count++] = (uint32_t)(from - record->data);
    from += MARK;
  }
  return found;
}

static void fill_in(struct record *record, const struct marks *marks, uint64_t number) {
  for (uint32_t i = 0; i < marks->count; i++) hex(record->data + marks->at[i], number);
}

static char *read_file(const char *path, size_t *size) {
  int fd = open(path, O_RDONLY);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) < 0) die(path);
  char *data = must(malloc((size_t)status.st_size + 1));
  *size = 0;
  for (ssize_t n; (n = read(fd, data + *size, (size_t)status.st_size - *size)) > 0;)
    *size += (size_t)n;
  close(fd);
  return data;
}

static void load_records(struct records *records, const char *path) {
  for (size_t i = 0; i < records->count; i++) {
    struct record *record = &records->list[i];
    free(record->numbers.at), free(record->times.at), free(record->senders.at);
  }
  free(records->file);
  free(records->list);
  size_t size;
  *records = (struct records){.file = read_file(path, &size)};
  for (size_t at = 0; at + 4 <= size;) {
    struct record record = {.data = records->file + at + 4};
    memcpy(&record.size, records->file + at, 4);
    record.numbers = find_marks(&record, '#');
    record.times = find_marks(&record, '@');
    record.senders = find_marks(&record, '%');
    records->list = must(realloc(records->list, (records->count + 1) * sizeof record));
    records->list[records->count++] = record;
    at += 4 + record.size;
  }
}

static struct record *next_record(struct records *records) {
  if (!records->count) {
    fprintf(stderr, "load: no records to use\n");
    exit(1);
  }
  return &records->list[records->next++ % records->count];
}

/* --- what the server speaks ---------------------------------------------------------- */

/* The records of the file, in this order. */
struct wire {
  struct record upgrade;   /* the request for a websocket */
  struct record live;      /* the frame that has it says that a recipient is connected */
  struct record heartbeat; /* the frame that asks whether a recipient is there, in full */
  struct record alive;     /* what it answers */
  struct record greeting;  /* a sender's first words; if there are none it speaks HTTP */
  struct record accepted;  /* once in an answer for each message that was accepted */
  struct record refused;   /* and for each that was not */
};

/* What recipients answer to messages: pushd's `ack` or `seen` up to the last that was
 * read, MQTT's PUBACK for each, or nothing. */
enum kind { ACK, SEEN, PUBACK, NOTHING };

static struct wire wire;
static enum kind kind;
static unsigned char frame_type;

static void load_wire(const char *frames, const char *path) {
  frame_type = strcmp(frames, "binary") ? 0x81 : 0x82;
  load_records(&words, path);
  if (words.count * sizeof(struct record) != sizeof wire) {
    fprintf(stderr, "load: %s holds no wire\n", path);
    exit(1);
  }
  memcpy(&wire, words.list, sizeof wire);
}

static void load_kind(const char *name) {
  static const char *const names[] = {"ack", "seen", "puback", "nothing"};
  for (kind = ACK; kind < NOTHING && strcmp(name, names[kind]);) kind++;
}

static const char *find(const char *data, size_t size, const struct record *what) {
  return what->size ? memmem(data, size, what->data, what->size) : NULL;
}

static uint64_t occurrences(const char *data, size_t size, const struct record *what) {
  uint64_t found = 0;
  const char *end = data + size;
  for (; (data = find(data, (size_t)(end - data), what)); data += what->size) found++;
  return found;
}

/* --- connections --------------------------------------------------------------------- */

struct buffer {
  char *data;
  size_t size, room;
};

enum phase { UPGRADING, CATCHING_UP, LIVE, SENDING };

struct connection {
  int fd;
  enum phase phase;
  bool busy;  /* a sender: its answer has not come */
  bool brief; /* a recipient: to be dropped once it caught up */
  bool over;
  size_t place; /* in the table of its like */
  struct buffer in, out;
};

static int poller;
static struct sockaddr_in server, senders_server;
static char scratch[SCRATCH];

static void append(struct buffer *buffer, const char *data, size_t size) {
  if (buffer->size + size > buffer->room) {
    buffer->room = buffer->size + size;
    buffer->data = must(realloc(buffer->data, buffer->room));
  }
  memcpy(buffer->data + buffer->size, data, size);
  buffer->size += size;
}

static void release(struct buffer *buffer) {
  free(buffer->data);
  *buffer = (struct buffer){0};
}

static void watch(struct connection *c, int how, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  if (epoll_ctl(poller, how, c->fd, &event) < 0) die("epoll_ctl");
}

/* Connecting blocks, which takes no time on loopback unless the server's queue is full. */
static struct connection *connection(enum phase phase) {
  struct connection *c = must(calloc(1, sizeof *c));
  struct sockaddr_in *to = phase == SENDING ? &senders_server : &server;
  c->phase = phase;
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (c->fd < 0) die("socket");
  if (connect(c->fd, (struct sockaddr *)to, sizeof *to) < 0) die("connect");
  int on = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  watch(c, EPOLL_CTL_ADD, EPOLLIN);
  return c;
}

static void transmit(struct connection *c, const char *data, size_t size) {
  ssize_t sent = 0;
  if (!c->out.size) {
    sent = send(c->fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) sent = (ssize_t)size; /* reading will tell of it */
    if (sent < 0) sent = 0;
  }
  if ((size_t)sent == size) return;
  if (!c->out.size) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
  append(&c->out, data + sent, size - (size_t)sent);
}

static void transmit_rest(struct connection *c) {
  struct buffer rest = c->out;
  c->out = (struct buffer){0};
  watch(c, EPOLL_CTL_MOD, EPOLLIN);
  transmit(c, rest.data, rest.size);
  free(rest.data);
}

/* Drop the connection with a reset, so that its port is free at once. */
static void drop(struct connection *c) {
  struct linger reset = {.l_onoff = 1};
  setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(c->fd);
  release(&c->in);
  release(&c->out);
  c->over = true;
}

/* --- recipients ---------------------------------------------------------------------- */

static struct connection **recipients;
static size_t recipients_size, recipients_room;
static size_t to_connect, connecting;
static bool brief;

static void send_frame(struct connection *c, unsigned char first, const char *payload,
                       size_t size) {
  static char frame[SCRATCH];
  size_t at = 0;
  uint32_t mask = (uint32_t)chance();
  frame[at++] = (char)first;
  if (size < 126) {
    frame[at++] = (char)(0x80 | size);
  } else {
    frame[at++] = (char)(0x80 | 126);
    frame[at++] = (char)(size >> 8);
    frame[at++] = (char)size;
  }
  memcpy(frame + at, &mask, MASK);
  char *key = frame + at;
  at += MASK;
  for (size_t i = 0; i < size; i++) frame[at + i] = payload[i] ^ key[i % MASK];
  transmit(c, frame, at + size);
}

static void connect_recipient(void) {
  struct connection *c = connection(UPGRADING);
  c->brief = brief;
  if (recipients_size == recipients_room) {
    recipients_room = recipients_room ? 2 * recipients_room : 1024;
    recipients = must(realloc(recipients, recipients_room * sizeof *recipients));
  }
  c->place = recipients_size;
  recipients[recipients_size++] = c;
  to_connect--;
  connecting++;
  transmit(c, wire.upgrade.data, wire.upgrade.size);
}

static void drop_recipient(struct connection *c) {
  recipients[c->place] = recipients[--recipients_size];
  recipients[c->place]->place = c->place;
  if (c->phase == LIVE) count.recipients--;
  drop(c);
}

/* One more has caught up, or never will. */
static void connected(void) {
  connecting--;
  if (to_connect)
    connect_recipient();
  else if (!connecting)
    answer();
}

static void lose_recipient(struct connection *c) {
  bool waiting = c->phase != LIVE;
  drop_recipient(c);
  if (waiting) connected();
}

static size_t take_upgrade(struct connection *c, const char *data, size_t size) {
  const char *end = memmem(data, size, "\r\n\r\n", 4);
  if (!end) return 0;
  if (size < 12 || memcmp(data, "HTTP/1.1 101", 12)) {
    fail("the upgrade was refused", data, size);
    lose_recipient(c);
    return 0;
  }
  struct record *hello = next_record(&hellos);
  c->phase = CATCHING_UP;
  send_frame(c, frame_type, hello->data, hello->size);
  return (size_t)(end + 4 - data);
}

/* Count the messages of a frame and how long each was under way. */
static uint64_t take_messages(const char *data, size_t size) {
  static const char due[] = "due=";
  const char *end = data + size;
  uint64_t arrived = now(), found = 0;
  while ((data = memmem(data, (size_t)(end - data), due, sizeof due - 1))) {
    char text[MARK + 1] = {0};
    data += sizeof due - 1;
    if (end - data < MARK) break;
    memcpy(text, data, MARK);
    uint64_t was_due = strtoull(text, NULL, 16);
    count_latency(arrived - was_due);
    if (notes) note(was_due, arrived);
    found++;
  }
  count.frames += found > 0;
  count.messages += found;
  return found;
}

/* The id in the frame's cursor, which is its last member: `"cursor":"<id>@<epoch>"}`. */
static void take_cursor(const char *data, size_t size, char *cursor) {
  const char *end = memrchr(data, '"', size);
  const char *start = end ? memrchr(data, '"', (size_t)(end - data)) : NULL;
  size_t length = start ? (size_t)(end - start) - 1 : CURSOR;
  if (length >= CURSOR) {
    fail("no cursor", data, size);
    return;
  }
  memcpy(cursor, start + 1, length);
  cursor[length] = 0;
  cursor[strcspn(cursor, "@")] = 0;
}

static void caught_up(struct connection *c) {
  c->phase = LIVE;
  count.connects++;
  count.recipients++;
  if (c->brief) drop_recipient(c);
  connected();
}

/* Acknowledge a PUBLISH of QoS 1; its identifier follows the topic (MQTT 3.1.1, 3.3). */
static void acknowledge(struct connection *c, const char *data, size_t size) {
  const unsigned char *packet = (const unsigned char *)data;
  size_t at = 1;
  while (at < size && packet[at++] & 0x80) continue;
  if (at + 2 < size) at += 2 + (size_t)(packet[at] << 8 | packet[at + 1]);
  if (at + 2 > size) {
    fail("no packet identifier", data, size);
    return;
  }
  const char puback[] = {0x40, 2, data[at], data[at + 1]};
  send_frame(c, frame_type, puback, sizeof puback);
  count.acks++;
}

static void take_payload(struct connection *c, const char *data, size_t size, char *cursor) {
  if (take_messages(data, size)) {
    if (kind == PUBACK) acknowledge(c, data, size);
    if (kind < PUBACK) take_cursor(data, size, cursor);
  } else if (c->phase == CATCHING_UP) {
    if (find(data, size, &wire.live)) caught_up(c);
  } else if (size == wire.heartbeat.size && !memcmp(data, wire.heartbeat.data, size)) {
    send_frame(c, frame_type, wire.alive.data, wire.alive.size);
  } else {
    fail("an unexpected frame", data, size);
  }
}

/* Take one frame of the server; its payload is not masked (RFC 6455 section 5.1). */
static size_t take_frame(struct connection *c, const char *data, size_t size, char *cursor) {
  if (size < 2) return 0;
  const unsigned char *head = (const unsigned char *)data;
  size_t start = 2, length = head[1] & 0x7f;
  if (length > 125) {
    size_t digits = length == 126 ? 2 : 8;
    if (size < start + digits) return 0;
    for (length = 0; digits; digits--) length = length << 8 | head[start++];
  }
  if (size < start + length) return 0;
  const char *payload = data + start;
  switch (head[0] & 0x0f) {
    case 0x1:
    case 0x2: take_payload(c, payload, length, cursor); break;
    case 0x9: send_frame(c, 0x8a, payload, length); break;
    case 0xa: break;
    default: fail("an unexpected opcode", payload, length);
  }
  return start + length;
}

/* Take what was read; pushd is answered once, up to the last message. */
static size_t take_frames(struct connection *c, const char *data, size_t size) {
  size_t taken = 0;
  char cursor[CURSOR] = "", text[2 * CURSOR];
  if (c->phase == UPGRADING) taken = take_upgrade(c, data, size);
  while (!c->over && c->phase != UPGRADING) {
    size_t more = take_frame(c, data + taken, size - taken, cursor);
    if (!more) break;
    taken += more;
  }
  if (c->over || !*cursor) return taken;
  int length = snprintf(text, sizeof text, "{\"type\":\"%s\",\"upto\":\"%s\"}",
                        kind == SEEN ? "seen" : "ack", cursor);
  send_frame(c, 0x81, text, (size_t)length);
  count.acks++;
  return taken;
}

/* --- senders ------------------------------------------------------------------------- */

static struct connection **senders;
static size_t senders_size, idle_size;
static struct connection **idle;
static double gap; /* nanoseconds between requests, on average; 0 waits for answers only */
static double due;
static uint64_t to_post; /* requests left, while posting */
static uint64_t unanswered;
static bool tell_when_idle;

static void post(struct connection *c, uint64_t when) {
  static uint64_t number;
  if (!number) number = (uint64_t)time(NULL) << 32;
  struct record *record = next_record(&posts);
  for (uint32_t i = 0; i < record->numbers.count; i++)
    hex(record->data + record->numbers.at[i], ++number);
  fill_in(record, &record->times, when);
  fill_in(record, &record->senders, c->place);
  c->busy = true;
  to_post--;
  unanswered++;
  count.posts++;
  transmit(c, record->data, record->size);
}

/* Post what is due, as far as senders are free; what has to wait is late by its own clock. */
static void post_due(void) {
  uint64_t moment = now();
  while (to_post && idle_size && (!gap || due <= (double)moment)) {
    post(idle[--idle_size], gap ? (uint64_t)due : moment);
    if (gap) due -= log(((double)(chance() >> 11) + 1) / 9007199254740993.0) * gap;
  }
}

static void answered(struct connection *c) {
  c->busy = false;
  idle[idle_size++] = c;
  unanswered--;
  count.answers++;
  if (gap == 0) post_due();
  if (tell_when_idle && !to_post && !unanswered) {
    tell_when_idle = false;
    answer();
  }
}

static size_t content_length(const char *head, const char *end) {
  static const char name[] = "\r\ncontent-length:";
  for (; head < end; head++)
    if (*head == '\r' && !strncasecmp(head, name, sizeof name - 1))
      return strtoul(head + sizeof name - 1, NULL, 10);
  return 0;
}

static size_t take_answer(struct connection *c, const char *data, size_t size) {
  const char *end = memmem(data, size, "\r\n\r\n", 4);
  if (!end) return 0;
  const char *body = end + 4;
  size_t length = content_length(data, end);
  if (size < (size_t)(body - data) + length) return 0;
  int status = atoi(data + sizeof "HTTP/1.1");
  if (status == 202 || status == 200) {
    count.accepted += occurrences(body, length, &wire.accepted);
    uint64_t refused = occurrences(body, length, &wire.refused);
    if (refused) fail("a delivery was refused", body, length);
    count.refused += refused;
  } else {
    fail("a request was refused", data, size);
  }
  answered(c);
  return (size_t)(body - data) + length;
}

/* Take what is said by a server that speaks no HTTP: an acceptance, and all before it. */
static size_t take_acceptance(struct connection *c, const char *data, size_t size) {
  if (find(data, size, &wire.refused)) fail("a message was refused", data, size);
  const char *found = find(data, size, &wire.accepted);
  if (!found) return 0;
  count.accepted++;
  answered(c);
  return (size_t)(found - data) + wire.accepted.size;
}

static struct connection *sender(size_t place) {
  struct connection *c = connection(SENDING);
  c->place = place;
  fill_in(&wire.greeting, &wire.greeting.senders, place);
  if (wire.greeting.size) transmit(c, wire.greeting.data, wire.greeting.size);
  return c;
}

/* New ones: a server may have closed those that have not been used for long. */
static void have_senders(size_t wanted) {
  while (senders_size) {
    struct connection *c = senders[--senders_size];
    drop(c);
    free(c);
  }
  senders = must(realloc(senders, (wanted + 1) * sizeof *senders));
  idle = must(realloc(idle, (wanted + 1) * sizeof *idle));
  for (; senders_size < wanted; senders_size++)
    senders[senders_size] = sender(senders_size);
  memcpy(idle, senders, senders_size * sizeof *senders);
  idle_size = senders_size;
}

/* --- the loop ------------------------------------------------------------------------ */

static void lose(struct connection *c) {
  fail("the server closed a connection", "", 0);
  if (c->phase == SENDING) exit(1);
  lose_recipient(c);
}

static void receive(struct connection *c) {
  ssize_t got = recv(c->fd, scratch, sizeof scratch, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    lose(c);
    return;
  }
  char *data = scratch;
  size_t size = (size_t)got, taken;
  struct buffer held = c->in;
  if (held.size) {
    c->in = (struct buffer){0};
    append(&held, scratch, size);
    data = held.data, size = held.size;
  }
  if (c->phase != SENDING)
    taken = take_frames(c, data, size);
  else if (wire.greeting.size)
    taken = take_acceptance(c, data, size);
  else
    taken = take_answer(c, data, size);
  if (!c->over && taken < size) append(&c->in, data + taken, size - taken);
  free(held.data);
}

static void happened(struct connection *c, uint32_t events) {
  if (events & EPOLLOUT) transmit_rest(c);
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(c);
  if (c->over) free(c);
}

static void connect_many(size_t number, size_t width, bool briefly) {
  brief = briefly;
  to_connect = number;
  if (width > number) width = number;
  if (!width) answer();
  for (; width; width--) connect_recipient();
}

static void deliver(size_t from, double rate, uint64_t number) {
  if (unanswered) {
    fprintf(stderr, "load: stop before you deliver anew\n");
    exit(1);
  }
  have_senders(from);
  gap = rate > 0 ? (double)SECOND / rate : 0;
  due = (double)now();
  to_post = number;
  post_due();
}

/* Carry out a line; those that take time are answered when they are done. */
static void obey(char *line) {
  char word[64], path[4096];
  size_t first;
  double second;
  if (sscanf(line, "wire %63s %4095[^\n]", word, path) == 2) {
    load_wire(word, path);
  } else if (sscanf(line, "hellos %4095[^\n]", path) == 1) {
    load_records(&hellos, path);
  } else if (sscanf(line, "posts %4095[^\n]", path) == 1) {
    load_records(&posts, path);
  } else if (sscanf(line, "answer %63s", word) == 1) {
    load_kind(word);
  } else if (sscanf(line, "connect %zu %lf", &first, &second) == 2) {
    connect_many(first, (size_t)second, false);
    return;
  } else if (sscanf(line, "storm %zu %lf", &first, &second) == 2) {
    connect_many(first, (size_t)second, true);
    return;
  } else if (sscanf(line, "deliver %zu %lf", &first, &second) == 2) {
    deliver(first, second, UINT64_MAX);
  } else if (sscanf(line, "fill %zu %lf", &first, &second) == 2) {
    tell_when_idle = true;
    deliver(first, 0, (uint64_t)second);
    return;
  } else if (!strcmp(line, "stop")) {
    to_post = 0;
    tell_when_idle = unanswered > 0;
    if (unanswered) return;
  } else if (sscanf(line, "note %4095[^\n]", path) == 1) {
    if (notes) fclose(notes);
    if (!(notes = fopen(path, "wb"))) die(path);
  } else if (!strcmp(line, "disconnect")) {
    while (recipients_size) {
      struct connection *c = recipients[recipients_size - 1];
      drop_recipient(c);
      free(c);
    }
  } else if (strcmp(line, "sample")) {
    fprintf(stderr, "load: what is %s?\n", line);
    exit(1);
  }
  if (notes) fflush(notes);
  answer();
  if (!strcmp(line, "sample")) {
    memset(latencies, 0, sizeof latencies);
    latencies_total = 0;
  }
}

static void listen_to_orders(void) {
  static char text[8192];
  static size_t size;
  ssize_t got = read(0, text + size, sizeof text - size);
  if (got <= 0) exit(0);
  size += (size_t)got;
  for (char *end; (end = memchr(text, '\n', size));) {
    char line[sizeof text];
    size_t length = (size_t)(end - text);
    memcpy(line, text, length);
    line[length] = 0;
    size -= length + 1;
    memmove(text, end + 1, size);
    obey(line);
  }
}

/* Wait for events, but not longer than until the next request is due. */
static int wait_for(struct epoll_event *events) {
  if (!to_post || !idle_size || !gap) return epoll_wait(poller, events, EVENTS, -1);
  double left = due - (double)now();
  if (left < 0) left = 0;
  struct timespec most = {(time_t)(left / SECOND), (long)fmod(left, SECOND)};
  return epoll_pwait2(poller, events, EVENTS, &most, NULL);
}

static struct sockaddr_in loopback(const char *port) {
  return (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port = htons((uint16_t)atoi(port)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int main(int argc, char **argv) {
  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: load PORT [PORT OF THE SENDERS]\n");
    return 2;
  }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  prctl(PR_SET_TIMERSLACK, 1000ul);
  prctl(PR_SET_PDEATHSIG, 9);
  server = loopback(argv[1]);
  senders_server = loopback(argv[argc - 1]);
  poller = epoll_create1(0);
  struct epoll_event orders = {.events = EPOLLIN}, events[EVENTS];
  if (epoll_ctl(poller, EPOLL_CTL_ADD, 0, &orders) < 0) die("standard input");
  for (;;) {
    int happening = wait_for(events);
    if (happening < 0 && errno != EINTR) die("epoll");
    bool told = false;
    for (int i = 0; i < happening; i++) {
      if (events[i].data.ptr)
        happened(events[i].data.ptr, events[i].events);
      else
        told = true;
    }
    /* Not before: an order may free connections whose events are still in the list. */
    if (told) listen_to_orders();
    post_due();
  }
}
