#ifndef THAWFS_CSQLITE_SHIM_H
#define THAWFS_CSQLITE_SHIM_H

#include <sqlite3.h>

#endif
