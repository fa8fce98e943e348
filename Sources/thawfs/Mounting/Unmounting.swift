import Glibc
import ThawCore

/// Takes a mount off the tree; fails while files are open on it.
func unmount(_ given: String) throws {
    // A dead mount cannot be resolved, but it can be unmounted by the name it was given.
    var path = given
    if let resolved = realpath(given, nil) {
        path = String(cString: resolved)
        free(resolved)
    }
    guard MountTable.source(at: path) != nil else { throw UsageError("nothing is mounted on \(path)") }
    if umount2(path, 0) == 0 { return }
    let code = errno
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
