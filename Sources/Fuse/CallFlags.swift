package import ThawCore

/// What a `setattr` changes; nil stays as it is. Of an access time nothing is kept.
package struct AttributeSetting: Sendable {
    /// The lower twelve bits of the mode.
    package var permissions: UInt32?
    package var uid: UInt32?
    package var gid: UInt32?
    package var sizeBytes: UInt64?
    package var modified: Timestamp?

    init() {}
}

/// The flags of renameat2(2), in the numbers of `<linux/fs.h>`.
package struct RenameFlags: OptionSet, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// RENAME_NOREPLACE
    package static let mustNotExist = RenameFlags(rawValue: 1)
}

/// The mode of fallocate(2), in the numbers of `<linux/falloc.h>`.
package struct AllocationFlags: OptionSet, Sendable {
    package let rawValue: Int32
    package init(rawValue: Int32) { self.rawValue = rawValue }

    /// FALLOC_FL_KEEP_SIZE
    package static let keepsSize = AllocationFlags(rawValue: 1)
    /// FALLOC_FL_PUNCH_HOLE
    package static let punchesHole = AllocationFlags(rawValue: 2)
}

/// The flags of setxattr(2), in the numbers of `<sys/xattr.h>`.
package struct XattrFlags: OptionSet, Sendable {
    package let rawValue: Int32
    package init(rawValue: Int32) { self.rawValue = rawValue }

    /// XATTR_CREATE
    package static let create = XattrFlags(rawValue: 1)
    /// XATTR_REPLACE
    package static let replace = XattrFlags(rawValue: 2)
}
