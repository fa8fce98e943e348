internal import Logging
internal import Metadata
internal import ObjectStore
internal import Synchronization
package import ThawCore

/// Renames that did not come to their end: given up, or cut short with the mount.
extension TreeCopy {
    /// Goes on with the renames of directories that an earlier mount left. One that was copying goes on copying, as
    /// nobody was told that it failed. What cannot be done is logged and left to the next mount, and so is the rest
    /// when the task is cancelled.
    package func resume() async { await resume(writer.left.renames.filter(\.source.isPrefix)) }

    /// The same for those of single objects. To be called before the mount is seen: what somebody stores under the old
    /// name from then on must not go the way of what was there.
    package func resumeObjects() async { await resume(writer.left.renames.filter { !$0.source.isPrefix }) }

    private func resume(_ rows: [RenameRow]) async {
        for row in rows {
            do throws(TreeCopyError) {
                let end = try await resume(row) ? "finished" : "taken back"
                log.notice("rename of \(row.source) to \(row.target), which an earlier mount began, is \(end)")
            } catch {
                if case .cancelled = error { return }
                log.error(
                    "rename of \(row.source) to \(row.target), which an earlier mount began, is not finished; every object is in one of the two: \(error)")
            }
            await forget(row.source)
            await forget(row.target)
        }
    }

    /// False: it is as if it had not begun.
    private func resume(_ row: RenameRow) async throws(TreeCopyError) -> Bool {
        switch row.stage {
        case .copying:
            let items = try await remainingItems(row)
            // A mount must not wait for a copy in parts, of which nothing is there before its end.
            if !row.source.isPrefix, items.contains(where: { !$0.isCopied && $0.sizeBytes > wholeBytesMax }) {
                try await finish(row)
                return false
            }
            do throws(TreeCopyError) { try await copy(items, for: row) } catch {
                if case .cancelled = error { throw error }
                await uncancelled { await giveUp(row, because: error) }
                throw error
            }
            try await deleteCopied(items, of: row)
        case .deleting:
            try await deleteMoved(row)
            try await finish(row)
        case .undoing:
            try await undo(row)
            try await finish(row)
            return false
        }
        return true
    }

    /// Copying failed: takes back what was copied, or leaves that to the next mount.
    func giveUp(_ row: RenameRow, because reason: TreeCopyError) async {
        log.warning("rename of \(row.source) to \(row.target) is given up: \(reason)")
        do throws(TreeCopyError) {
            try await journalled { () async throws(MetadataError) in
                try await writer.advanceRename(row.id, to: .undoing)
            }
            try await undo(row)
            try await finish(row)
        } catch {
            log.error(
                "rename of \(row.source) to \(row.target): \(row.source) is whole, but what was copied to \(row.target) is not deleted, which the next mount does: \(error)")
            await forget(row.target)
        }
    }

    /// Deletes the copies: what is the same in both places. What only the target has is somebody else's, or the last
    /// that there is of it.
    private func undo(_ row: RenameRow) async throws(TreeCopyError) {
        var pairs = PairWalk(store, row)
        var doomed: [ObjectKey] = []
        var doubtful: [Pair] = []
        var left = 0
        while let (source, target) = try await pairs.next() {
            guard let target, target.key != row.target || !row.replacesMarker else { continue }
            guard let source, source.record.sizeBytes == target.record.sizeBytes else {
                left += 1
                continue
            }
            if source.record.etag == target.record.etag {
                doomed.append(target.key)
                try await deleteIfMany(&doomed)
            } else {
                doubtful.append(Pair(source: source.key, target: target.key))
                guard doubtful.count == Self.deletedKeysMax else { continue }
                left += try await deleteCopies(doubtful)
                doubtful = []
            }
        }
        try await delete(doomed)
        left += try await deleteCopies(doubtful)
        guard left > 0 else { return }
        log.warning(
            "rename of \(row.source) to \(row.target) is taken back: \(left) objects below \(row.target) are no copies of what is below \(row.source) now, and stay")
    }

    /// An object and what may be its copy.
    private struct Pair {
        let source: ObjectKey
        let target: ObjectKey
    }

    /// Deletes those of the targets that hold nothing that their sources do not. Answers how many it left.
    private func deleteCopies(_ pairs: [Pair]) async throws(TreeCopyError) -> Int {
        let copies = Mutex<[ObjectKey]>([])
        try await inParallel(pairs, Self.copiesMax) { pair throws(TreeCopyError) in
            guard try await isCopy(pair) else { return }
            copies.withLock { $0.append(pair.target) }
        }
        let doomed = copies.withLock { $0 }
        try await delete(doomed)
        return pairs.count - doomed.count
    }

    /// Copies of what was uploaded in parts, or is encrypted, have ETags of their own. Their headers are the same, and
    /// so is the checksum, or where the store tells none, the file's time.
    private func isCopy(_ pair: Pair) async throws(TreeCopyError) -> Bool {
        do throws(StoreError) {
            let source = try await store.describe(pair.source, version: nil)
            let target = try await store.describe(pair.target, version: nil)
            guard source.record.sizeBytes == target.record.sizeBytes, source.headers == target.headers else {
                return false
            }
            guard let ours = source.checksum, let theirs = target.checksum else {
                return source.headers.metadata["mtime"] != nil
            }
            return ours == theirs
        } catch {
            // Somebody deleted one of them meanwhile.
            if error.kind == .noSuchKey { return false }
            throw TreeCopyError(pair.target, error)
        }
    }

    /// Everything below the source, and which of it is copied already.
    private func remainingItems(_ row: RenameRow) async throws(TreeCopyError) -> [Item] {
        var pairs = PairWalk(store, row)
        var items: [Item] = []
        while let (source, target) = try await pairs.next() {
            guard let source else { continue }
            var item = Item(source)
            if let target, target.record.sizeBytes == item.sizeBytes {
                item.isCopied = target.record.etag == item.etag
                if !item.isCopied, item.sizeBytes > wholeBytesMax {
                    item.isCopied = try await isCopy(Pair(source: source.key, target: target.key))
                }
            }
            items.append(item)
        }
        return items
    }

    /// All was copied: what is in both places is deleted from the source.
    private func deleteMoved(_ row: RenameRow) async throws(TreeCopyError) {
        var pairs = PairWalk(store, row)
        var doomed: [ObjectKey] = []
        var left = 0
        while let (source, target) = try await pairs.next() {
            guard let source else { continue }
            guard let target else {
                left += 1
                continue
            }
            // Copying may change an ETag. A source that is newer than its copy was written since, perhaps after
            // somebody was told that this failed; one of the same second may have been written since.
            let (from, to) = (source.record, target.record)
            if from.etag != to.etag, from.modified >= to.modified {
                guard from.modified == to.modified, await isCopiedAnew(source, for: row) else {
                    left += 1
                    continue
                }
            }
            doomed.append(source.key)
            try await deleteIfMany(&doomed)
        }
        try await delete(doomed)
        tellLeft(left, row)
    }

    /// What the metadata store knows of the tree, or of the object, may be of before.
    package func forget(_ prefix: ObjectKey) async {
        do throws(MetadataError) {
            if prefix.isPrefix {
                try await writer.expireTree(prefix, at: .now())
            } else {
                try await writer.expire(directory: prefix.directory, at: .now())
            }
        } catch {
            log.warning("what is known of \(prefix) may be out of date until its TTL is over: \(error)")
        }
    }

    /// What is below the source and what is below the target, side by side in the order of their names.
    private struct PairWalk {
        private let row: RenameRow
        private var sources: KeyWalk
        private var targets: KeyWalk
        private var source: ListedObject?
        private var target: ListedObject?
        private var hasBegun = false

        init(_ store: any ObjectStore, _ row: RenameRow) {
            self.row = row
            sources = KeyWalk(store, row.source)
            targets = KeyWalk(store, row.target)
        }

        /// The next name's objects, one of them at least.
        mutating func next() async throws(TreeCopyError) -> (source: ListedObject?, target: ListedObject?)? {
            if !hasBegun {
                hasBegun = true
                source = try await sources.next()
                target = try await targets.next()
            }
            let pair: (source: ListedObject?, target: ListedObject?)
            switch (source, target) {
            case (nil, nil): return nil
            case (let source?, let target?):
                let name = source.key.bytes.dropFirst(row.source.bytes.count)
                let other = target.key.bytes.dropFirst(row.target.bytes.count)
                pair = (
                    other.lexicographicallyPrecedes(name) ? nil : source,
                    name.lexicographicallyPrecedes(other) ? nil : target
                )
            default: pair = (source, target)
            }
            if pair.source != nil { source = try await sources.next() }
            if pair.target != nil { target = try await targets.next() }
            return pair
        }
    }
}
