internal import Metadata
package import ObjectStore
package import ThawCore
internal import Wire

extension ObjectStore {
    package func copyWhole(
        _ source: CopySource, to key: ObjectKey, _ draft: ObjectDraft?
    ) async throws(StoreError) -> ObjectRecord { try await copy(source, to: key, draft) }
}
enum TreeCopyError: Error { case frozen(ObjectKey), store(ObjectKey, StoreError), journal(MetadataError), cancelled }
struct Trees: Sendable {
    func renameTree(
        from: ObjectKey, to: ObjectKey, isFrozen: @Sendable (ObjectKey, ObjectRecord) async -> Bool
    ) async throws(TreeCopyError) { throw .cancelled }
}
extension FileAttributes {
    func fits(dialect: Dialect) -> Bool { Self.fits(merged(into: [:]), dialect) }
}
