package import ThawCore

/// What a file has besides its bytes, and a store keeps in an object's user metadata, under the names that s3fs, ossfs
/// and rclone share (`x-amz-meta-mode`, `x-oss-meta-mtime`, …): FileAttributes+Metadata.swift.
package struct FileAttributes: Sendable, Equatable {
    /// `st_mode`: the type's bits and the permissions. Nil where nothing is stored.
    package var mode: UInt32?
    package var uid: UInt32?
    package var gid: UInt32?
    package var modified: Timestamp?
    /// Extended attributes by their full names (`user.comment`).
    package var extended: [String: [UInt8]]

    package init(
        mode: UInt32? = nil, uid: UInt32? = nil, gid: UInt32? = nil, modified: Timestamp? = nil,
        extended: [String: [UInt8]] = [:]
    ) {
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.modified = modified
        self.extended = extended
    }

    /// The lower twelve bits of the mode.
    package var permissions: UInt32? { mode.map { $0 & 0o7777 } }

    /// The object's content is the target of a symbolic link.
    package var isSymbolicLink: Bool { (mode ?? 0) & 0o170000 == 0o120000 }
}
