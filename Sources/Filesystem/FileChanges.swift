package import ThawCore

/// What an open asks for.
package struct OpenMode: Sendable, Equatable {
    package var reads: Bool
    package var writes: Bool
    /// O_TRUNC
    package var truncates: Bool
    /// O_APPEND
    package var appends: Bool

    package init(reads: Bool = true, writes: Bool = false, truncates: Bool = false, appends: Bool = false) {
        self.reads = reads
        self.writes = writes
        self.truncates = truncates
        self.appends = appends
    }
}

/// What `setattr` changes; nil stays as it is.
package struct AttributeChange: Sendable, Equatable {
    /// Permission bits.
    package var permissions: UInt32?
    package var uid: UInt32?
    package var gid: UInt32?
    package var sizeBytes: UInt64?
    package var modified: Timestamp?

    package init() {}
}

/// How `rename` treats a target that is there.
package enum RenameTarget: Sendable { case replaced, mustNotExist }

/// What a new name is made with.
package struct NewFile: Sendable {
    package var permissions: UInt32
    package var uid: UInt32
    package var gid: UInt32

    package init(permissions: UInt32, uid: UInt32, gid: UInt32) {
        self.permissions = permissions
        self.uid = uid
        self.gid = gid
    }
}
