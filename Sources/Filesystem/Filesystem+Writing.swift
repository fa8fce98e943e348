package import ThawCore

/// What an open asks for.
package struct OpenMode: Sendable, Equatable {
    package var reads: Bool
    package var writes: Bool
    /// O_TRUNC
    package var truncates: Bool

    package init(reads: Bool = true, writes: Bool = false, truncates: Bool = false) {
        self.reads = reads
        self.writes = writes
        self.truncates = truncates
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

extension Filesystem {
    /// Counts as a lookup of the new inode.
    package func create(
        parent: UInt64, name: [UInt8], _ new: NewFile, isExclusive: Bool
    ) async throws(FileError) -> (node: Node, file: OpenedFile) { throw .readOnly }

    /// Counts as a lookup.
    package func makeDirectory(parent: UInt64, name: [UInt8], _ new: NewFile) async throws(FileError) -> Node {
        throw .readOnly
    }

    /// Counts as a lookup.
    package func makeSymbolicLink(
        parent: UInt64, name: [UInt8], target: [UInt8], _ new: NewFile
    ) async throws(FileError) -> Node { throw .readOnly }

    package func linkTarget(_ number: UInt64) async throws(FileError) -> [UInt8] { throw .invalid }

    package func unlink(parent: UInt64, name: [UInt8]) async throws(FileError) { throw .readOnly }
    package func removeDirectory(parent: UInt64, name: [UInt8]) async throws(FileError) { throw .readOnly }

    package func rename(
        parent: UInt64, name: [UInt8], newParent: UInt64, newName: [UInt8], _ target: RenameTarget
    ) async throws(FileError) { throw .readOnly }

    package func setAttributes(
        _ number: UInt64, _ change: AttributeChange, handle: UInt64?, caller: Caller
    ) async throws(FileError) -> Node { throw .readOnly }

    /// Takes the bytes if that waits for nobody; else answers false, and `write` must be asked.
    package func writeAtHand(
        _ handle: UInt64, offset: UInt64, _ bytes: UnsafeRawBufferPointer
    ) -> Result<Bool, FileError> { .failure(.readOnly) }

    package func write(
        _ handle: UInt64, offset: UInt64, _ bytes: [UInt8], caller: Caller
    ) async throws(FileError) { throw .readOnly }

    /// As fallocate(2): `keepsSize` and `punchesHole` are its flags.
    package func allocate(
        _ handle: UInt64, range: Range<UInt64>, keepsSize: Bool, punchesHole: Bool, caller: Caller
    ) async throws(FileError) { throw .readOnly }

    /// What `close` and `fsync` wait for: true when there is nothing to wait for.
    package func isClean(_ handle: UInt64) -> Bool { true }

    /// Brings what was written to where `close` and `fsync` promise it to be.
    package func flush(_ handle: UInt64) async throws(FileError) {}
}
