#ifndef THAWFS_CTHAW_SHIM_H
#define THAWFS_CTHAW_SHIM_H

#include <linux/falloc.h>
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/xattr.h>

/* Swift's Glibc has no malloc.h. */
static inline void thaw_limit_arenas(int count) { mallopt(M_ARENA_MAX, count); }

/* prctl is variadic, and Swift imports no variadic function. */
static inline void thaw_thread_set_name(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

/* fallocate is declared for _GNU_SOURCE only. */
int fallocate(int descriptor, int mode, off_t offset, off_t length);
static inline int thaw_punch_hole(int descriptor, off_t offset, off_t length)
{
    return fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

#endif
