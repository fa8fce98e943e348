package import Logging
package import Metadata
package import ObjectStore
package import ThawCore
internal import Wire

/// Why many objects could not be copied.
package enum TreeCopyError: Error, Sendable {
    /// This one is frozen; nothing was changed, or all of it was taken back.
    case frozen(ObjectKey)
    /// There is an object where the copies were to go, and nothing was changed.
    case notEmpty(ObjectKey)
    /// What the store answered for this object, or for a listing of what is below this prefix.
    case store(ObjectKey, StoreError)
    /// The journal cannot be written.
    case journal(MetadataError)
    case cancelled

    init(_ key: ObjectKey, _ error: StoreError) {
        switch error.kind {
        case .cancelled: self = .cancelled
        case .invalidObjectState: self = .frozen(key)
        default: self = .store(key, error)
        }
    }
}

extension TreeCopyError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .frozen(let key): "\(key) is frozen and cannot be copied; restore it first"
        case .notEmpty(let key): "\(key) is there already"
        case .store(let key, let error): "\(key): \(error)"
        case .journal(let error): "\(error)"
        case .cancelled: "cancelled"
        }
    }
}

/// Work within the store: renames of objects and of all objects below a prefix, and changes of class.
///
/// A rename copies every object and then deletes the sources, so that each is in one of the two places at any moment.
/// Its journal says which of the two it is at. Until all is copied, a failure takes back what was copied; from then on
/// the rename has happened, and what is left to be deleted is deleted, if need be by the next mount.
///
/// What is known of the objects is held in memory for as long as that takes: some 200 bytes and the key for each, so
/// that a million objects need about 300 MB.
package struct TreeCopy: Sendable {
    /// Tells whether an object that was listed cannot be copied; may ask the store where listings do not say.
    package typealias FrozenTest = @Sendable (ObjectKey, ObjectRecord) async -> Bool

    /// Three quarters of the connections (`HTTPClient.Configuration.connectionsMax`), so that reads go on meanwhile. At
    /// 50 ms for each that is 1,000 copies a second, well below the 3,500 writes that S3 takes for one prefix (Amazon
    /// S3, "Performance design patterns").
    static let copiesMax = 48
    /// What one request may name (S3 DeleteObjects, OSS DeleteMultipleObjects).
    static let deletedKeysMax = 1000
    /// Each is 1,000 writes to the store.
    static let deletesMax = 4

    let store: any ObjectStore
    let writer: MetadataWriter
    let log: Logger
    /// Larger ones are copied in parts.
    let wholeBytesMax: UInt64

    /// - Parameter wholeBytesMax: what the store copies by one request; nil for what the dialect allows
    package init(store: any ObjectStore, writer: MetadataWriter, log: Logger, wholeBytesMax: UInt64? = nil) {
        self.store = store
        self.writer = writer
        self.log = log
        self.wholeBytesMax = wholeBytesMax ?? LargeCopy.wholeBytesMax(store.dialect)
    }

    /// Moves all objects below `source` (ends in `/`) to below `target`, where there is nothing but a marker. When one
    /// of them is frozen, nothing is changed. A cancelled task takes back what it copied, unless all of it is copied.
    ///
    /// After any other failure than `frozen` and `notEmpty`, objects may be in both places, until the next mount. What
    /// the metadata store knows is forgotten where that may be; after success, that is the caller's part: `moved` runs
    /// before the journal forgets the rename.
    package func renameTree(
        from source: ObjectKey, to target: ObjectKey, isFrozen: @escaping FrozenTest,
        moved: @escaping @Sendable () async -> Void = {}
    ) async throws(TreeCopyError) {
        let items = try await items(below: source, isFrozen: isFrozen) { _ in true }
        guard !items.isEmpty else {
            throw .store(source, StoreError(.noSuchKey, code: "NoSuchKey", message: "there is nothing below it"))
        }
        let replacesMarker = try await requireEmpty(target)
        let row = try await journalled { () async throws(MetadataError) in
            try await writer.beginRename(source, to: target, replacesMarker: replacesMarker)
        }
        log.info("rename of \(source) to \(target): \(items.count) objects")
        do throws(TreeCopyError) { try await copy(items, for: row) } catch {
            await uncancelled { await giveUp(row, because: error) }
            throw error
        }
        try await deleteCopied(items, of: row, moved)
    }

    /// Copies one object to where it goes, over what may be there (`replaces`), by way of the journal: until
    /// `finishRename` of the row that this answers, a crash leaves the rename to the next mount. After a failure the
    /// object is where it was, and the row is gone, or left to the next mount as the copy is.
    package func beginRename(
        of source: CopySource, to target: ObjectKey, replaces: Bool
    ) async throws(TreeCopyError) -> (row: RenameRow, copied: ObjectRecord) {
        let row = try await journalled { () async throws(MetadataError) in
            try await writer.beginRename(source.key, to: target, replacesMarker: replaces)
        }
        do throws(StoreError) {
            return (row, try await copyToItsEnd(source, to: target))
        } catch {
            let failure = TreeCopyError(source.key, error)
            let mayBeCopied = !error.isRefusal
            await uncancelled {
                if mayBeCopied { return await giveUp(row, because: failure) }
                do throws(TreeCopyError) { try await finish(row) } catch {
                    log.error("rename of \(row.source) to \(row.target) failed, which the journal does not take in: \(error)")
                }
            }
            throw failure
        }
    }

    /// Deletes the object that was copied. What cannot be deleted is left to the next mount. Being cancelled changes
    /// nothing any more.
    package func finishRename(_ row: RenameRow) async throws(TreeCopyError) {
        try await uncancelled { () async -> Result<Void, TreeCopyError> in
            do throws(TreeCopyError) {
                try await deleteSource(row)
                try await finish(row)
                return .success(())
            } catch {
                log.error(
                    "rename of \(row.source) to \(row.target): it is copied, but not deleted, which the next mount does: \(error)")
                _ = try? await writer.advanceRename(row.id, to: .deleting)
                return .failure(error)
            }
        }.get()
    }

    private func deleteSource(_ row: RenameRow) async throws(TreeCopyError) {
        do throws(StoreError) { try await store.delete(row.source, version: nil, condition: .always) } catch {
            if error.kind != .noSuchKey { throw TreeCopyError(row.source, error) }
        }
    }

    // MARK: Steps of a rename

    /// Copies what an earlier mount has not copied.
    func copy(_ items: [Item], for row: RenameRow) async throws(TreeCopyError) {
        try await inParallel(items.lazy.filter { !$0.isCopied }, Self.copiesMax) { item throws(TreeCopyError) in
            try await copy(item, for: row)
        }
    }

    func deleteCopied(
        _ items: [Item], of row: RenameRow, _ moved: @escaping @Sendable () async -> Void = {}
    ) async throws(TreeCopyError) {
        // All is where it was to go: it is too late for being cancelled.
        try await uncancelled { () async -> Result<Void, TreeCopyError> in
            do throws(TreeCopyError) {
                try await journalled { () async throws(MetadataError) in
                    try await writer.advanceRename(row.id, to: .deleting)
                }
                try await deleteSources(row, items)
                await moved()
                try await finish(row)
                return .success(())
            } catch {
                log.error(
                    "rename of \(row.source) to \(row.target): all is copied, but not all of \(row.source) is deleted, which the next mount goes on with: \(error)")
                await forget(row.source)
                await forget(row.target)
                return .failure(error)
            }
        }.get()
    }

    func finish(_ row: RenameRow) async throws(TreeCopyError) {
        try await journalled { () async throws(MetadataError) in try await writer.finishRename(row.id) }
    }

    /// Whether the target has a marker. It may have nothing else.
    private func requireEmpty(_ target: ObjectKey) async throws(TreeCopyError) -> Bool {
        var hasMarker = false
        var walk = KeyWalk(store, target, keysMax: 2)
        while let found = try await walk.next() {
            guard found.key == target else { throw .notEmpty(found.key) }
            hasMarker = true
        }
        return hasMarker
    }

    private func copy(_ item: Item, for row: RenameRow) async throws(TreeCopyError) {
        let target = row.target + item.key.bytes.dropFirst(row.source.bytes.count)
        do throws(StoreError) {
            try await copy(item.key, item.record, to: target)
        } catch {
            switch error.kind {
            // Somebody deleted it meanwhile.
            case .noSuchKey: return
            // Somebody replaced it meanwhile. The walk that deletes will find that out, too.
            case .preconditionFailed:
                do throws(StoreError) {
                    try await copy(item.key, try await store.head(item.key, version: nil), to: target)
                } catch {
                    if error.kind != .noSuchKey { throw TreeCopyError(item.key, error) }
                }
            default: throw TreeCopyError(item.key, error)
            }
        }
    }

    private func copy(_ key: ObjectKey, _ record: ObjectRecord, to target: ObjectKey) async throws(StoreError) {
        _ = try await copyToItsEnd(CopySource(key: key, etag: record.etag, record: record), to: target)
    }

    /// A request that is given up may take effect all the same, after its copy was taken back: each is waited for. Not
    /// so a copy in parts, which takes long; given up, it comes to nothing.
    private func copyToItsEnd(
        _ source: CopySource, to target: ObjectKey
    ) async throws(StoreError) -> ObjectRecord {
        guard let sizeBytes = source.record?.sizeBytes, sizeBytes <= wholeBytesMax else {
            return try await copyWhole(source, to: target, nil)
        }
        return try await uncancelled { () async -> Result<ObjectRecord, StoreError> in
            do throws(StoreError) { return .success(try await store.copy(source, to: target, nil)) } catch {
                return .failure(error)
            }
        }.get()
    }

    /// Copies an object of any size.
    func copyWhole(
        _ source: CopySource, to target: ObjectKey, _ draft: ObjectDraft?
    ) async throws(StoreError) -> ObjectRecord {
        let notes = UploadJournal(writer, log: log)
        return try await LargeCopy(store, notes: notes, wholeBytesMax: wholeBytesMax).copy(source, to: target, draft)
    }

    /// Deletes what was copied. What came below the source meanwhile stays there, and what was replaced is copied anew.
    private func deleteSources(_ row: RenameRow, _ items: [Item]) async throws(TreeCopyError) {
        var walk = KeyWalk(store, row.source)
        var items = items[...]
        var doomed: [ObjectKey] = []
        var left = 0
        while let found = try await walk.next() {
            items = items.drop { $0.key < found.key }
            guard let item = items.first, item.key == found.key else {
                left += 1
                continue
            }
            if item.etag != found.record.etag, await !isCopiedAnew(found, for: row) { continue }
            doomed.append(found.key)
            try await deleteIfMany(&doomed)
        }
        try await delete(doomed)
        tellLeft(left, row)
    }

    /// Copies an object that was replaced after it was copied. One that cannot be copied stays where it is.
    func isCopiedAnew(_ found: ListedObject, for row: RenameRow) async -> Bool {
        do throws(StoreError) {
            try await copy(
                found.key, found.record, to: row.target + found.key.bytes.dropFirst(row.source.bytes.count))
            return true
        } catch {
            log.warning(
                "rename of \(row.source) to \(row.target): \(found.key) was replaced meanwhile and stays where it is; its older content was moved: \(error)")
            return false
        }
    }

    func tellLeft(_ count: Int, _ row: RenameRow) {
        guard count > 0 else { return }
        log.warning(
            "rename of \(row.source) to \(row.target): \(count) objects came or changed below \(row.source) meanwhile and stay there")
    }
}

extension StoreError {
    /// The store said no before it did anything.
    fileprivate var isRefusal: Bool {
        switch kind {
        case .noSuchKey, .preconditionFailed, .invalidObjectState, .denied, .protected, .elsewhere: true
        default: false
        }
    }
}
