internal import Metadata
internal import ObjectStore
internal import ThawCore
internal import Wire

/// What renames and changes of class are made of.
extension TreeCopy {
    /// An object below the prefix, as far as it matters.
    struct Item: Sendable {
        let key: ObjectKey
        let etag: String
        let storageClass: StorageClass
        let sizeBytes: UInt64
        let modified: Timestamp
        /// An earlier mount has copied it.
        var isCopied = false

        init(_ object: ListedObject) {
            key = object.key
            etag = object.record.etag
            storageClass = object.record.storageClass
            sizeBytes = object.record.sizeBytes
            modified = object.record.modified
        }

        var record: ObjectRecord {
            ObjectRecord(sizeBytes: sizeBytes, modified: modified, etag: etag, storageClass: storageClass)
        }
    }

    /// Objects below a prefix in key order, page by page; or the one object of a key that is no prefix.
    struct KeyWalk {
        private let prefix: ObjectKey
        private var listing: Listing?
        private var page: ArraySlice<ListedObject> = []

        init(_ store: any ObjectStore, _ prefix: ObjectKey, keysMax: Int = 1000) {
            self.prefix = prefix
            // Of all keys that begin with a key, it is the first.
            listing = Listing(
                store, ListRequest(prefix: prefix, delimiter: nil, keysMax: prefix.isPrefix ? keysMax : 1))
        }

        mutating func next() async throws(TreeCopyError) -> ListedObject? {
            while page.isEmpty {
                guard let next = try await nextPage() else { return nil }
                page = next[...]
            }
            return page.popFirst()
        }

        mutating func nextPage() async throws(TreeCopyError) -> [ListedObject]? {
            do throws(StoreError) {
                let objects = try await listing?.next()?.objects
                if prefix.isPrefix { return objects }
                listing = nil
                return objects?.filter { $0.key == prefix }
            } catch {
                throw TreeCopyError(prefix, error)
            }
        }
    }

    /// All wanted objects below the prefix, in key order; fails when one of them is frozen.
    func items(
        below prefix: ObjectKey, isFrozen: @escaping FrozenTest, where isWanted: (ListedObject) -> Bool
    ) async throws(TreeCopyError) -> [Item] {
        var walk = KeyWalk(store, prefix)
        var items: [Item] = []
        while let page = try await walk.nextPage() {
            let wanted = page.filter(isWanted)
            try await inParallel(wanted, Self.copiesMax) { object throws(TreeCopyError) in
                if await isFrozen(object.key, object.record) { throw .frozen(object.key) }
            }
            items += wanted.lazy.map { Item($0) }
        }
        return items
    }

    // MARK: Deleting

    /// Deletes the keys, and forgets them, once they are enough for all requests at once.
    func deleteIfMany(_ keys: inout [ObjectKey]) async throws(TreeCopyError) {
        guard keys.count >= Self.deletedKeysMax * Self.deletesMax else { return }
        try await delete(keys)
        keys = []
    }

    func delete(_ keys: [ObjectKey]) async throws(TreeCopyError) {
        let batches = stride(from: 0, to: keys.count, by: Self.deletedKeysMax).map {
            Array(keys[$0..<min($0 + Self.deletedKeysMax, keys.count)])
        }
        try await inParallel(batches, Self.deletesMax) { batch throws(TreeCopyError) in
            let failures: [DeleteFailure]
            do throws(StoreError) { failures = try await store.delete(batch) } catch {
                throw TreeCopyError(batch[0], error)
            }
            if let first = failures.first { throw TreeCopyError(first.key, first.error) }
        }
    }

    // MARK: Tasks

    /// Runs `body` for each item, so many at once. After a failure, or once the task is cancelled, no more are begun,
    /// and those under way come to their end. Throws the first failure.
    func inParallel<Item: Sendable>(
        _ items: some Sequence<Item>, _ width: Int,
        _ body: @escaping @Sendable (Item) async throws(TreeCopyError) -> Void
    ) async throws(TreeCopyError) {
        let failure = await withTaskGroup(of: TreeCopyError?.self) { group in
            var rest = items.makeIterator()
            var failure: TreeCopyError?
            func begin() {
                guard failure == nil, !Task.isCancelled, let item = rest.next() else { return }
                group.addTask {
                    do throws(TreeCopyError) { try await body(item) } catch { return error }
                    return nil
                }
            }
            for _ in 0..<width { begin() }
            while let ended = await group.next() {
                if let error = ended, failure == nil {
                    failure = error
                    group.cancelAll()
                }
                begin()
            }
            return failure ?? (Task.isCancelled ? .cancelled : nil)
        }
        if let failure { throw failure }
    }

    /// Runs `body` to its end whether or not the task is cancelled.
    func uncancelled<Result: Sendable>(_ body: @escaping @Sendable () async -> Result) async -> Result {
        await Task { await body() }.value
    }

    func journalled<Result: Sendable>(
        _ body: () async throws(MetadataError) -> Result
    ) async throws(TreeCopyError) -> Result {
        do throws(MetadataError) { return try await body() } catch { throw .journal(error) }
    }
}
