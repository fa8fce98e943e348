internal import Logging
package import ObjectStore
package import ThawCore
package import Wire

/// Changes of objects' storage class.
extension TreeCopy {
    /// Told of each object that was changed.
    package typealias Changed = @Sendable (ObjectKey, ObjectRecord) async -> Void

    /// Requests for one object whose content is replaced again and again.
    private static let attemptsMax = 3

    /// Gives all objects below the prefix another class, with their headers; those that have it are passed over, and so
    /// are markers of directories and symbolic links, which must stay readable. When one of the others is frozen,
    /// nothing is changed. After another failure, or when the task is cancelled, some are changed and the rest are not:
    /// the same again goes on where it ended.
    package func transition(
        below prefix: ObjectKey, to storageClass: StorageClass, isFrozen: @escaping FrozenTest,
        changed: @escaping Changed
    ) async throws(TreeCopyError) {
        let items = try await items(below: prefix, isFrozen: isFrozen) {
            $0.record.storageClass != storageClass && !$0.isMarker
        }
        log.info("\(items.count) objects below \(prefix) change to \(storageClass.name)")
        try await inParallel(items, Self.copiesMax) { item throws(TreeCopyError) in
            if let record = try await transition(item.key, to: storageClass) { await changed(item.key, record) }
        }
    }

    /// Gives one object another class. Nil when there is nothing to change.
    package func transition(
        _ key: ObjectKey, to storageClass: StorageClass
    ) async throws(TreeCopyError) -> ObjectRecord? {
        for attempt in 1... {
            do throws(StoreError) {
                let known = try await store.describe(key, version: nil)
                if known.record.storageClass == storageClass || known.record.attributes?.isSymbolicLink ?? false {
                    return nil
                }
                let draft = ObjectDraft(headers: known.headers, storageClass: storageClass)
                var record = try await copyWhole(
                    CopySource(key: key, etag: known.record.etag, record: known.record), to: key, draft)
                record.attributes = known.record.attributes
                return record
            } catch {
                guard error.kind == .preconditionFailed, attempt < Self.attemptsMax else {
                    throw TreeCopyError(key, error)
                }
            }
        }
        return nil
    }
}

extension ListedObject {
    /// It stands for a directory.
    fileprivate var isMarker: Bool { key.bytes.last == UInt8(ascii: "/") && record.sizeBytes == 0 }
}
