internal import CFuse3

/// One reply to `readdir` or `readdirplus`, in the kernel's own layout and of the size the kernel asked for.
package struct DirectoryPage: ~Copyable {
    let base: UnsafeMutablePointer<CChar>
    private let capacity: Int
    private(set) var used = 0

    package init(capacity: Int) {
        base = .allocate(capacity: max(capacity, 1))
        self.capacity = capacity
    }

    deinit { base.deallocate() }

    package var isEmpty: Bool { used == 0 }

    /// Adds a name alone; false when the page is full. `name` ends in NUL. `nextOffset` is where a later `readdir`
    /// continues after this entry. The corresponding C function is `fuse_add_direntry`.
    package mutating func append(
        name: UnsafePointer<CChar>, inode: UInt64, kind: Attributes.Kind, nextOffset: Int64
    ) -> Bool {
        var stat = CFuse3.stat()
        stat.st_ino = UInt(inode)
        stat.st_mode = kind.fileType
        let size = fuse_add_direntry(nil, base + used, capacity - used, name, &stat, off_t(nextOffset))
        guard size <= capacity - used else { return false }
        used += size
        return true
    }

    /// Adds a name with its attributes; an accepted one counts as a lookup of the inode (but not `.` and `..`).
    /// The corresponding C function is `fuse_add_direntry_plus`.
    package mutating func append(name: UnsafePointer<CChar>, entry: Entry, nextOffset: Int64) -> Bool {
        var parameter = entry.parameter
        let size = fuse_add_direntry_plus(nil, base + used, capacity - used, name, &parameter, off_t(nextOffset))
        guard size <= capacity - used else { return false }
        used += size
        return true
    }
}
