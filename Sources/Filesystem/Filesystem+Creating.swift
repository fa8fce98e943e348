internal import Content
internal import Metadata
internal import ObjectStore
internal import Synchronization
package import ThawCore
internal import Upload
internal import Wire

extension Filesystem {
    private static let slash = UInt8(ascii: "/")
    /// Of a key, in bytes: what OSS takes; S3 takes one more.
    private static let keyBytesMax = 1023

    /// Makes a file, or opens the one that is there. Counts as a lookup. The file is in the store when it is closed.
    package func create(
        parent: UInt64, name: [UInt8], _ new: NewFile, _ mode: OpenMode, isExclusive: Bool, caller: Caller
    ) async throws(FileError) -> (node: Node, file: OpenedFile) {
        let directory = try await writableDirectory(parent)
        if let found = try await find(name, in: directory) {
            if isExclusive { throw .alreadyExists }
            let node = remember(found, in: directory)
            do throws(FileError) {
                let opened = try await open(node.inode, mode, caller: caller)
                return (nodeAtHand(node.inode) ?? node, opened)
            } catch {
                inodes.forget(node.inode, count: 1)
                throw error
            }
        }
        let segment = try newSegment(name, in: directory)
        let key = directory.key(of: segment)
        let attributes = new.attributes(type: 0o100000)
        let made: (file: StagedFile, isNew: Bool)?
        do throws(UploadError) {
            made = try moves.unless(moving: key) { () throws(UploadError) in
                try stagedFiles.use(key) { () throws(UploadError) in
                    try StagedFile(
                        key, base: nil, sizeBytes: 0, attributes: attributes, headers: nil, condition: .isAbsent,
                        replacesUnknown: mode.truncates && !isExclusive, isChanged: true, in: staging)
                }
            }
        } catch {
            throw failed("creating", key, error)
        }
        guard let file = made?.file else {
            try await moves.wait(for: key)
            return try await create(
                parent: parent, name: name, new, mode, isExclusive: isExclusive, caller: caller)
        }
        let row = MetadataRow(segment: segment, kind: .object(file.record), checkedAt: .now())
        let node = remember(Found(row: row, isShadowed: false), in: directory)
        show(file, on: node.inode, of: nil)
        namesChanged(in: directory)
        // Whatever it is opened for, its close stores it.
        let handle = openFiles.open(
            node.inode, file.record, file, writes: true, appends: mode.appends, isFrozen: false,
            aheadBytesMax: contents.aheadBytesMax)
        return (node, OpenedFile(handle: handle, isDirect: false, keepsCache: false))
    }

    /// Counts as a lookup.
    package func makeDirectory(parent: UInt64, name: [UInt8], _ new: NewFile) async throws(FileError) -> Node {
        let directory = try await writableDirectory(parent)
        if try await find(name, in: directory) != nil { throw .alreadyExists }
        let segment = try newSegment(name, in: directory) + [Self.slash]
        let attributes = new.attributes(type: 0o040000)
        let row = MetadataRow(segment: segment, kind: .directory(attributes), checkedAt: .now())
        try await claiming(segment, in: directory) { prefix throws(FileError) in
            try await putMarker(prefix, attributes, condition: .isAbsent)
            await remember(row, in: directory)
            do throws(MetadataError) { try await writer.beginEmpty(directory: prefix, at: .now()) } catch {
                _ = failure("mkdir", prefix, error)
            }
        }
        namesChanged(in: directory)
        let node = remember(Found(row: row, isShadowed: false), in: directory)
        inodes.update(node.inode) { $0.markerCheckedAt = .now() }
        return node
    }

    /// Counts as a lookup.
    package func makeSymbolicLink(
        parent: UInt64, name: [UInt8], target: [UInt8], _ new: NewFile
    ) async throws(FileError) -> Node {
        let directory = try await writableDirectory(parent)
        if try await find(name, in: directory) != nil { throw .alreadyExists }
        let segment = try newSegment(name, in: directory)
        let attributes = new.attributes(type: 0o120000)
        let draft = ObjectDraft(
            headers: ObjectHeaders(metadata: attributes.merged(into: [:])), condition: .isAbsent)
        let row = try await claiming(segment, in: directory) { key throws(FileError) in
            var record: ObjectRecord
            do throws(StoreError) { record = try await store.put(key, .bytes(target), draft) } catch {
                throw failedWrite("symlink", key, error)
            }
            record.attributes = attributes
            let row = MetadataRow(segment: segment, kind: .object(record), checkedAt: .now())
            await remember(row, in: directory)
            return row
        }
        namesChanged(in: directory)
        return remember(Found(row: row, isShadowed: false), in: directory)
    }

    package func linkTarget(_ number: UInt64) async throws(FileError) -> [UInt8] {
        guard let inode = inodes[number] else { throw .stale }
        let record = try await freshRecord(number)
        guard record.attributes?.isSymbolicLink ?? false else { throw .invalid }
        let content = contents.content(
            key: inode.key, version: inode.version, etag: record.etag, sizeBytes: record.sizeBytes)
        defer { content.close() }
        guard record.sizeBytes > 0 else { return [] }
        do throws(StoreError) {
            return try await content.bytes(0..<record.sizeBytes, ahead: 0).withPieces { $0.flatMap { Array($0) } }
        } catch {
            report("readlink", inode.key, error)
            throw FileError(error)
        }
    }

    // MARK: Parts

    /// The directory, once it is not on its way to another place.
    func writableDirectory(_ number: UInt64) async throws(FileError) -> Directory {
        if let prefix = inodes[number]?.directory?.prefix { try await moves.wait(for: prefix) }
        guard let inode = inodes[number] else { throw .stale }
        guard let directory = inode.directory else { throw .notDirectory }
        guard directory.view == .objects else { throw .readOnly }
        guard !inode.isRemoved else { throw .noSuchEntry }
        return directory
    }

    /// The segment that a new name stands for.
    func newSegment(_ name: [UInt8], in directory: Directory) throws(FileError) -> [UInt8] {
        guard name.count <= Names.bytesMax else { throw .nameTooLong }
        // Only names that say themselves are made: the others show what no path can name.
        guard case .segment(let segment) = Names.query(name), segment == name, name != Names.versions else {
            throw .invalid
        }
        guard directory.prefix.bytes.count + segment.count < Self.keyBytesMax else { throw .nameTooLong }
        return segment
    }

    /// Stores the empty object that stands for a directory, with its attributes.
    func putMarker(
        _ prefix: ObjectKey, _ attributes: FileAttributes, condition: WriteCondition
    ) async throws(FileError) {
        let draft = ObjectDraft(
            headers: ObjectHeaders(
                metadata: attributes.merged(into: [:]), standard: ["content-type": "application/x-directory"]),
            condition: condition)
        do throws(StoreError) { _ = try await store.put(prefix, .bytes([]), draft) } catch {
            throw failedWrite("mkdir", prefix, error)
        }
    }

    /// Remembers what was made, or taken away, in the metadata store.
    func remember(_ row: MetadataRow, in directory: Directory) async {
        do throws(MetadataError) { try await writer.record([row], below: directory.prefix, listing: 0) } catch {
            _ = failure("remembering", directory.key(of: row.segment), error)
        }
    }

    /// A directory shows when a name in it was made or taken away, as every directory does.
    func namesChanged(in directory: Directory) {
        inodes.update(directory.inode) { $0.namesChangedAt = .now() }
    }

    func failedWrite(_ operation: String, _ key: ObjectKey, _ error: StoreError) -> FileError {
        report(operation, key, error)
        return error.kind == .preconditionFailed ? .alreadyExists : FileError(error)
    }
}

extension NewFile {
    func attributes(type: UInt32) -> FileAttributes {
        FileAttributes(mode: type | permissions & 0o7777, uid: uid, gid: gid, modified: .now())
    }
}
