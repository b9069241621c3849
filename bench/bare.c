/* Answers every request on a port of this machine with the same few bytes, and does
 * nothing else: what a kernel and a loop cost, below which no server gets.
 *
 *     bare PORT
 *
 * It looks at nothing it reads. A request of the bench arrives whole, in one read, and the
 * next only after its answer. One epoll, level-triggered, as event loops use it.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, SCRATCH = 1 << 16 };

static const char answer[] =
    "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"
    "{\"id\":\"\"}";

static int must(int result, const char *what) {
  if (result >= 0) return result;
  perror(what);
  exit(1);
}

static void watch(int poll, int file) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = file};
  must(epoll_ctl(poll, EPOLL_CTL_ADD, file, &event), "epoll_ctl");
}

static int listening(int port) {
  int file = must(socket(AF_INET, SOCK_STREAM, 0), "socket"), yes = 1;
  setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  struct sockaddr_in here = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  must(bind(file, (struct sockaddr *)&here, sizeof here), "bind");
  must(listen(file, EVENTS), "listen");
  return file;
}

static void admit(int poll, int listener) {
  int file = must(accept(listener, NULL, NULL), "accept"), yes = 1;
  setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  watch(poll, file);
}

static void reply(int file) {
  static char scratch[SCRATCH];
  if (read(file, scratch, sizeof scratch) <= 0 ||
      write(file, answer, sizeof answer - 1) < 0)
    close(file);
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  int poll = must(epoll_create1(0), "epoll_create1"), listener = listening(atoi(argv[1]));
  watch(poll, listener);
  for (;;) {
    struct epoll_event events[EVENTS];
    int ready = must(epoll_wait(poll, events, EVENTS, -1), "epoll_wait");
    for (int at = 0; at < ready; at++)
      if (events[at].data.fd == listener)
        admit(poll, listener);
      else
        reply(events[at].data.fd);
  }
}
