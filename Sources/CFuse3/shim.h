#ifndef THAWFS_CFUSE3_SHIM_H
#define THAWFS_CFUSE3_SHIM_H

#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>

/* Newer headers turn fuse_session_new into a macro over a versioned symbol; Swift sees only functions. */
static inline struct fuse_session *thaw_fuse_session_new(struct fuse_args *args,
                                                         const struct fuse_lowlevel_ops *operations,
                                                         void *userdata) {
    return fuse_session_new(args, operations, sizeof(*operations), userdata);
}

#endif
