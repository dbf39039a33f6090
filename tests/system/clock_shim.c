/* A wall clock that a test can set, for every process that preloads this.

   CLOCK_SHIM names a file of pairs of doubles: from when on (by the real clock) the wall clock is
   ahead by how many seconds. As with a real step, files that are written later carry the new time,
   older ones keep theirs; monotonic clocks know nothing of it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 64 };
static const volatile struct { double since, ahead; } *steps;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CLOCK_SHIM");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *at = mmap(0, STEPS * sizeof *steps, PROT_READ, MAP_SHARED, file, 0);
    if (at != MAP_FAILED) steps = at;
    close(file);
}

static double real(void) {
    struct timespec t;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static time_t ahead_at(double when) {
    time_t ahead = 0;
    for (int i = 0; steps && i < STEPS && steps[i].since > 0; i++)
        if (when >= steps[i].since) ahead = (time_t)steps[i].ahead;
    return ahead;
}

int clock_gettime(clockid_t clock, struct timespec *t) {
    int result = (int)syscall(SYS_clock_gettime, clock, t);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        t->tv_sec += ahead_at(real());
    return result;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}

static int shifted(int result, struct stat *s) {
    if (result == 0) s->st_mtim.tv_sec += ahead_at(s->st_mtim.tv_sec + s->st_mtim.tv_nsec / 1e9);
    return result;
}

#define FORWARD(name, parameters, arguments)                                      \
    int name parameters {                                                          \
        int (*next) parameters = (int (*) parameters)dlsym(RTLD_NEXT, #name);      \
        return shifted(next arguments, s);                                         \
    }
FORWARD(stat, (const char *restrict path, struct stat *restrict s), (path, s))
FORWARD(lstat, (const char *restrict path, struct stat *restrict s), (path, s))
FORWARD(fstat, (int file, struct stat *s), (file, s))
FORWARD(fstatat, (int dir, const char *restrict path, struct stat *restrict s, int flags),
        (dir, path, s, flags))
int stat64(const char *restrict path, struct stat64 *restrict s) { return stat(path, (struct stat *)s); }
int lstat64(const char *restrict path, struct stat64 *restrict s) { return lstat(path, (struct stat *)s); }
int fstat64(int file, struct stat64 *s) { return fstat(file, (struct stat *)s); }
int fstatat64(int dir, const char *restrict path, struct stat64 *restrict s, int flags) {
    return fstatat(dir, path, (struct stat *)s, flags);
}
