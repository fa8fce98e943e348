#ifndef THAWFS_CTHAW_SHIM_H
#define THAWFS_CTHAW_SHIM_H

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/xattr.h>

/* prctl is variadic, and Swift imports no variadic function. */
static inline void thaw_thread_set_name(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

#endif
