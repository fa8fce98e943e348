internal import CFuse3
internal import Glibc
internal import ThawCore

/// The part of the C table that changes files. Locks are not in it: the kernel then keeps them itself, for this mount.
func addWriting(to table: inout fuse_lowlevel_ops) {
    table.setattr = { raw, inode, stat, fields, info in
        guard let raw, let stat else { return }
        operations(of: raw).setattr(
            Request(raw), inode: inode, handle: info?.pointee.fh, AttributeSetting(stat.pointee, fields: fields))
    }
    table.write = { raw, inode, buffer, size, offset, info in
        guard let raw, let info else { return }
        operations(of: raw).write(
            Request(raw), inode: inode, handle: info.pointee.fh, offset: UInt64(offset),
            bytes: UnsafeRawBufferPointer(start: buffer, count: size))
    }
    table.fallocate = { raw, inode, mode, offset, length, info in
        guard let raw, let info else { return }
        let start = UInt64(offset)
        operations(of: raw).fallocate(
            Request(raw), inode: inode, handle: info.pointee.fh, range: start..<start + UInt64(length),
            flags: AllocationFlags(rawValue: mode))
    }
    table.flush = { raw, inode, info in
        guard let raw, let info else { return }
        operations(of: raw).flush(Request(raw), inode: inode, handle: info.pointee.fh)
    }
    table.fsync = { raw, inode, _, info in
        guard let raw, let info else { return }
        operations(of: raw).fsync(Request(raw), inode: inode, handle: info.pointee.fh)
    }
}

/// The part of the C table that changes names.
func addNames(to table: inout fuse_lowlevel_ops) {
    table.create = { raw, parent, name, mode, info in
        guard let raw, let info else { return }
        operations(of: raw).create(
            Request(raw), parent: parent, name: bytes(name), mode: mode, flags: info.pointee.flags)
    }
    table.mknod = { raw, parent, name, mode, _ in
        guard let raw else { return }
        operations(of: raw).mknod(Request(raw), parent: parent, name: bytes(name), mode: mode)
    }
    table.mkdir = { raw, parent, name, mode in
        guard let raw else { return }
        operations(of: raw).mkdir(Request(raw), parent: parent, name: bytes(name), mode: mode)
    }
    table.symlink = { raw, target, parent, name in
        guard let raw else { return }
        operations(of: raw).symlink(Request(raw), parent: parent, name: bytes(name), target: bytes(target))
    }
    table.link = { raw, inode, parent, name in
        guard let raw else { return }
        operations(of: raw).link(Request(raw), inode: inode, newParent: parent, newName: bytes(name))
    }
    table.unlink = { raw, parent, name in
        guard let raw else { return }
        operations(of: raw).unlink(Request(raw), parent: parent, name: bytes(name))
    }
    table.rmdir = { raw, parent, name in
        guard let raw else { return }
        operations(of: raw).rmdir(Request(raw), parent: parent, name: bytes(name))
    }
    table.rename = { raw, parent, name, newParent, newName, flags in
        guard let raw else { return }
        operations(of: raw).rename(
            Request(raw), parent: parent, name: bytes(name), newParent: newParent, newName: bytes(newName),
            flags: RenameFlags(rawValue: flags))
    }
}

extension AttributeSetting {
    /// `fields` are `FUSE_SET_ATTR_…`: those of `stat` that count.
    fileprivate init(_ stat: CFuse3.stat, fields: Int32) {
        func has(_ field: Int32) -> Bool { fields & field != 0 }
        self.init()
        if has(FUSE_SET_ATTR_MODE) { permissions = stat.st_mode & 0o7777 }
        if has(FUSE_SET_ATTR_UID) { uid = stat.st_uid }
        if has(FUSE_SET_ATTR_GID) { gid = stat.st_gid }
        if has(FUSE_SET_ATTR_SIZE) { sizeBytes = UInt64(stat.st_size) }
        if has(FUSE_SET_ATTR_MTIME_NOW) {
            modified = .now()
        } else if has(FUSE_SET_ATTR_MTIME) {
            let time = stat.st_mtim
            modified = Timestamp(seconds: Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
        }
    }
}
