/* Faults for tools/chaos, preloaded into a process: a disk that is full at one file, a clock that is set back.
 *
 * CHAOS_FULL   Pattern of paths, as of fnmatch. Such a file can be made, and what is written to it does not fit.
 * CHAOS_RECORD A file that gets the paths of all files that are opened to be written.
 * CHAOS_CLOCK  Seconds that are added to the time of day from CHAOS_CLOCK_AFTER seconds after the start on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_full(const char *path) {
  const char *pattern = getenv("CHAOS_FULL"), *record = getenv("CHAOS_RECORD");
  int file = record && path ? REAL(open)(record, O_WRONLY | O_CREAT | O_APPEND, 0666) : -1;
  if (file >= 0) {
    dprintf(file, "%s\n", path);
    close(file);
  }
  return pattern && path && fnmatch(pattern, path, 0) == 0;
}

/* The file is there and empty, and a device that has no room takes what is written to it. */
static const char *full(const char *path) {
  int made = REAL(open)(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (made >= 0) close(made);
  return "/dev/full";
}

#define OPEN(name)                                                            \
  int name(const char *path, int flags, ...) {                                \
    va_list rest;                                                             \
    va_start(rest, flags);                                                    \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;   \
    va_end(rest);                                                             \
    if ((flags & O_ACCMODE) != O_RDONLY && is_full(path)) {                   \
      path = full(path);                                                      \
      flags &= ~(O_EXCL | O_CREAT | O_TRUNC);                                 \
    }                                                                         \
    return REAL(name)(path, flags, mode);                                     \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                          \
  int name(int folder, const char *path, int flags, ...) {                    \
    va_list rest;                                                             \
    va_start(rest, flags);                                                    \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;   \
    va_end(rest);                                                             \
    if ((flags & O_ACCMODE) != O_RDONLY && is_full(path)) {                   \
      path = full(path);                                                      \
      flags &= ~(O_EXCL | O_CREAT | O_TRUNC);                                 \
    }                                                                         \
    return REAL(name)(folder, path, flags, mode);                             \
  }
OPENAT(openat)
OPENAT(openat64)

FILE *fopen(const char *path, const char *mode) {
  return REAL(fopen)(mode[0] != 'r' && is_full(path) ? full(path) : path, mode);
}

FILE *fopen64(const char *path, const char *mode) {
  return REAL(fopen64)(mode[0] != 'r' && is_full(path) ? full(path) : path, mode);
}

/* Clock ------------------------------------------------------------------------------------------------------- */

static time_t jump(void) {
  static double started = -1;
  const char *seconds = getenv("CHAOS_CLOCK"), *after = getenv("CHAOS_CLOCK_AFTER");
  struct timespec now;
  if (!seconds) return 0;
  REAL(clock_gettime)(CLOCK_MONOTONIC, &now);
  double here = now.tv_sec + 1e-9 * now.tv_nsec;
  if (started < 0) started = here;
  return here - started >= (after ? atof(after) : 0) ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int status = REAL(clock_gettime)(clock, now);
  if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += jump();
  return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int status = REAL(gettimeofday)(now, zone);
  if (status == 0) now->tv_sec += jump();
  return status;
}

time_t time(time_t *place) {
  time_t now = REAL(time)(NULL) + jump();
  if (place) *place = now;
  return now;
}
