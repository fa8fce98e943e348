internal import Filesystem
internal import Fuse
internal import ThawCore

/// How inodes look to `stat`: what was asked for by option holds for all of them, else what is stored with the object,
/// else what the mount has for objects that other tools made.
package struct Ownership: Sendable {
    /// By option.
    private let uid: UInt32?
    private let gid: UInt32?
    private let umask: UInt32?
    /// Of what has no owner stored.
    private let owner: UInt32
    private let group: UInt32

    package init(uid: UInt32?, gid: UInt32?, umask: UInt32?, owner: UInt32, group: UInt32) {
        self.uid = uid
        self.gid = gid
        self.umask = umask
        self.owner = owner
        self.group = group
    }

    func attributes(_ node: Node) -> Attributes {
        Attributes(
            inode: node.inode, kind: Attributes.Kind(node.kind), permissions: permissions(node),
            uid: uid ?? node.uid ?? owner, gid: gid ?? node.gid ?? group, sizeBytes: node.sizeBytes,
            modified: node.modified)
    }

    func permissions(_ node: Node) -> UInt32 {
        if node.kind == .symbolicLink { return 0o777 }
        // As FUSE has it: a umask that is given leaves the execute bits, so that programs in the bucket can be run.
        if let umask { return 0o777 & ~umask }
        return node.permissions ?? (node.isDirectory ? 0o755 : 0o644)
    }
}

extension Attributes.Kind {
    init(_ kind: Node.Kind) {
        switch kind {
        case .directory: self = .directory
        case .file: self = .file
        case .symbolicLink: self = .symbolicLink
        }
    }
}
