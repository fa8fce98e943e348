package import ObjectStore
package import ThawCore
package import Wire

/// A store that is another one, but for what it does itself.
package protocol StoreFront: ObjectStore {
    associatedtype Behind: ObjectStore
    var store: Behind { get }
}

extension StoreFront {
    package var dialect: Dialect { store.dialect }

    package func list(_ request: ListRequest) async throws(StoreError) -> ListPage { try await store.list(request) }

    package func listVersions(_ request: VersionListRequest) async throws(StoreError) -> VersionPage {
        try await store.listVersions(request)
    }

    package func head(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectRecord {
        try await store.head(key, version: version)
    }

    package func get(
        _ key: ObjectKey, version: String?, range: Range<UInt64>, ifMatch: String?, into sink: any ByteSink
    ) async throws(StoreError) -> ObjectRecord {
        try await store.get(key, version: version, range: range, ifMatch: ifMatch, into: sink)
    }

    package func restore(
        _ key: ObjectKey, version: String?, _ order: RestoreOrder
    ) async throws(StoreError) -> RestoreReply { try await store.restore(key, version: version, order) }

    package func refreeze(_ key: ObjectKey, version: String?) async throws(StoreError) {
        try await store.refreeze(key, version: version)
    }

    package func archiveDirectRead() async throws(StoreError) -> Bool { try await store.archiveDirectRead() }

    package func describe(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectDescription {
        try await store.describe(key, version: version)
    }

    package func put(
        _ key: ObjectKey, _ body: Payload, _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord { try await store.put(key, body, draft) }

    package func copy(
        _ source: CopySource, to key: ObjectKey, _ draft: ObjectDraft?
    ) async throws(StoreError) -> ObjectRecord { try await store.copy(source, to: key, draft) }

    package func delete(
        _ key: ObjectKey, version: String?, condition: WriteCondition
    ) async throws(StoreError) { try await store.delete(key, version: version, condition: condition) }

    package func delete(_ keys: [ObjectKey]) async throws(StoreError) -> [DeleteFailure] {
        try await store.delete(keys)
    }

    package func beginUpload(_ key: ObjectKey, _ draft: ObjectDraft) async throws(StoreError) -> MultipartUpload {
        try await store.beginUpload(key, draft)
    }

    package func uploadPart(
        _ upload: MultipartUpload, number: Int, _ body: Payload
    ) async throws(StoreError) -> UploadedPart { try await store.uploadPart(upload, number: number, body) }

    package func copyPart(
        _ upload: MultipartUpload, number: Int, from source: CopySource, range: Range<UInt64>
    ) async throws(StoreError) -> UploadedPart {
        try await store.copyPart(upload, number: number, from: source, range: range)
    }

    package func completeUpload(
        _ upload: MultipartUpload, _ parts: [UploadedPart], _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord { try await store.completeUpload(upload, parts, draft) }

    package func abortUpload(_ upload: MultipartUpload) async throws(StoreError) {
        try await store.abortUpload(upload)
    }

    package func checks(_ condition: WriteCondition) -> Bool { store.checks(condition) }
}
