#ifndef THAWFS_CFUSE3_SHIM_H
#define THAWFS_CFUSE3_SHIM_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#endif
