"""What scripts/bench is made of: workloads that thawfs, its peers and bare floors are put through, one like the other.

`bench` runs and measures, `peers` are the file systems, `programs` what is run on them, `report` says what came out,
`bars` what is asked of it. The other modules are the workloads. docs/performance.md explains all of it.
"""
