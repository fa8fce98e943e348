package import ThawCore
package import Upload

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
    /// As `openAtHand(_:)`, for any mode.
    package func openAtHand(_ number: UInt64, _ mode: OpenMode) -> OpenedFile? {
        mode.writes || mode.truncates ? nil : openAtHand(number)
    }

    /// As `open(_:caller:)`, for any mode.
    package func open(_ number: UInt64, _ mode: OpenMode, caller: Caller) async throws(FileError) -> OpenedFile {
        if mode.writes || mode.truncates { throw .readOnly }
        return try await open(number, caller: caller)
    }

    /// Opens the new file. One that is there all the same (somebody else made it since the kernel looked) is opened as
    /// `mode` says, unless this `isExclusive`. Counts as a lookup of the inode.
    package func create(
        parent: UInt64, name: [UInt8], _ new: NewFile, _ mode: OpenMode, isExclusive: Bool, caller: Caller
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

    /// What has been accepted and is not yet in the store, oldest first.
    package func uploads() async -> [UploadSummary] { [] }

    // MARK: Extended attributes that are not ours, all below `user.`

    package func extendedAttribute(_ number: UInt64, _ name: String) async throws(FileError) -> [UInt8] {
        throw .noSuchAttribute
    }

    /// `create`: fails with `alreadyExists` where it is there; `replace`: with `noSuchAttribute` where it is not.
    package func setExtendedAttribute(
        _ number: UInt64, _ name: String, value: [UInt8], create: Bool, replace: Bool, caller: Caller
    ) async throws(FileError) { throw .readOnly }

    package func removeExtendedAttribute(_ number: UInt64, _ name: String, caller: Caller) async throws(FileError) {
        throw .readOnly
    }

    package func extendedAttributeNames(_ number: UInt64) async throws(FileError) -> [String] { [] }
}
