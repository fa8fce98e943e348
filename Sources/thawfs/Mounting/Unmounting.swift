import Glibc
import ThawCore

/// The mountpoint that was named, as the mount table has it.
func pathOfMount(_ given: String) throws -> String {
    let path = try resolvedParent(of: given)
    guard MountTable.entry(at: path) != nil else { throw UsageError("nothing is mounted on \(path)") }
    return path
}

/// Takes a mount off the tree; fails while files are open on it.
func unmount(_ path: String) throws {
    var code: Int32 = 0
    // A look that somebody takes meanwhile (df, thawfs status, an indexer) makes it busy for a moment.
    for attempt in 0..<10 {
        if attempt > 0 { usleep(50_000) }
        if umount2(path, 0) == 0 { return }
        code = errno
        if code != EBUSY { break }
    }
    if code == EPERM {
        guard let status = spawnAndWait(["fusermount3", "-u", "--", path]) else {
            throw UsageError("fusermount3 cannot be run; install the package fuse3")
        }
        if status == 0 { return }
        throw UsageError("fusermount3 could not unmount \(path)")
    }
    let advice = code == EBUSY ? "; files on it are open (fuser -vm \(path) shows by whom)" : ""
    throw UsageError("cannot unmount \(path): \(errorText(code))\(advice)")
}

/// The path with its parent resolved. The mount itself is not looked at: it may be dead, or hang.
private func resolvedParent(of path: String) throws -> String {
    var components = path.split(separator: "/", omittingEmptySubsequences: true)
    let isPlain = components.last.map { $0 != "." && $0 != ".." } ?? false
    let last = isPlain ? components.removeLast() : ""
    let parent = (path.hasPrefix("/") ? "/" : "./") + components.joined(separator: "/")
    guard let resolved = realpath(parent, nil) else { throw UsageError("\(path): \(errorText(errno))") }
    defer { free(resolved) }
    let base = String(cString: resolved)
    if last.isEmpty { return base }
    return base == "/" ? "/\(last)" : "\(base)/\(last)"
}
