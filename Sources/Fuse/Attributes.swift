package import ThawCore
internal import CFuse3
internal import Glibc

/// What `stat` shows of an inode.
package struct Attributes: Sendable, Equatable {
    package enum Kind: Sendable {
        case directory, file, symbolicLink

        var fileType: UInt32 {
            switch self {
            case .directory: Glibc.S_IFDIR
            case .file: Glibc.S_IFREG
            case .symbolicLink: Glibc.S_IFLNK
            }
        }
    }

    package var inode: UInt64
    package var kind: Kind
    /// The lower twelve bits of the mode.
    package var permissions: UInt32
    package var uid: UInt32
    package var gid: UInt32
    package var sizeBytes: UInt64
    package var linkCount: UInt32
    /// Shown as the modification, change and access time.
    package var modified: Timestamp

    package init(
        inode: UInt64, kind: Kind, permissions: UInt32, uid: UInt32, gid: UInt32, sizeBytes: UInt64,
        linkCount: UInt32 = 1, modified: Timestamp
    ) {
        self.inode = inode
        self.kind = kind
        self.permissions = permissions
        self.uid = uid
        self.gid = gid
        self.sizeBytes = sizeBytes
        self.linkCount = linkCount
        self.modified = modified
    }

    /// `st_blocks` is the full size whatever the object's state: a smaller one makes `tar -S` write zeros in
    /// silence. `st_blksize` asks copying programs for reads of 1 MiB.
    var stat: CFuse3.stat {
        var stat = CFuse3.stat()
        stat.st_ino = UInt(inode)
        stat.st_mode = kind.fileType | permissions
        stat.st_nlink = UInt(linkCount)
        stat.st_uid = uid
        stat.st_gid = gid
        stat.st_size = Int(clamping: sizeBytes)
        stat.st_blksize = 1 << 20
        stat.st_blocks = Int(clamping: sizeBytes / 512 + (sizeBytes % 512 == 0 ? 0 : 1))
        let time = timespec(
            tv_sec: Int(modified.seconds), tv_nsec: Int(modified.nanoseconds - modified.seconds * 1_000_000_000))
        stat.st_mtim = time
        stat.st_ctim = time
        stat.st_atim = time
        return stat
    }
}

/// The answer to a lookup: an inode, and how long the kernel may go without asking again.
package struct Entry: Sendable {
    package var attributes: Attributes
    package var generation: UInt64
    /// How long the name may be trusted, in seconds.
    package var validSeconds: Double
    /// How long the attributes may be.
    package var attributesValidSeconds: Double

    package init(attributes: Attributes, generation: UInt64, validSeconds: Double, attributesValidSeconds: Double) {
        self.attributes = attributes
        self.generation = generation
        self.validSeconds = validSeconds
        self.attributesValidSeconds = attributesValidSeconds
    }

    var parameter: fuse_entry_param {
        var parameter = fuse_entry_param()
        parameter.ino = attributes.inode
        parameter.generation = generation
        parameter.attr = attributes.stat
        parameter.attr_timeout = attributesValidSeconds
        parameter.entry_timeout = validSeconds
        return parameter
    }
}
