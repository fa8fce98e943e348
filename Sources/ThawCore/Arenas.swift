internal import CThaw

/// Lets malloc have two arenas and not one for each thread, which all keep what was given back: what one thread makes
/// and another lets go, as a daemon's do, would add up. To be called before there are threads.
/// The corresponding C function is `mallopt` with `M_ARENA_MAX`.
package func limitArenas() { thaw_limit_arenas(2) }
