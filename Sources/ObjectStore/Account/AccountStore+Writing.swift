package import ThawCore
import Wire

extension AccountStore {
    package func checks(_ condition: WriteCondition) -> Bool { account.checks(condition) }

    package func put(
        _ key: ObjectKey, _ body: Payload, _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord {
        switch try writable(key) {
        case .bucket(let bucket) where body.sizeBytes == 0:
            try await create(bucket, BucketDraft(storageClass: draft.storageClass?.name), condition: draft.condition)
            return ObjectRecord(
                sizeBytes: 0, modified: .now(), etag: "\"\"", storageClass: StorageClass(""),
                attributes: FileAttributes())
        case .bucket(let bucket): throw .unsupported("\(bucket) is a bucket, which has no content of its own")
        case .object(let bucket, let key): return try await store(bucket).put(key, body, draft)
        }
    }

    package func copy(
        _ source: CopySource, to key: ObjectKey, _ draft: ObjectDraft?
    ) async throws(StoreError) -> ObjectRecord {
        guard case .object(let bucket, let inner) = try writable(key) else {
            throw .elsewhere("\(key) is a bucket, and no copy of anything")
        }
        let (origin, innerSource) = try copied(source)
        let store = try await store(bucket)
        try await requireOneRegion(origin, bucket)
        do throws(StoreError) {
            return try await store.copy(innerSource, of: origin, to: inner, draft)
        } catch {
            guard error.kind == .noSuchBucket, origin != bucket else { throw error }
            throw .elsewhere("\(source.key) to \(key): \(error)")
        }
    }

    /// OSS copies within a region only.
    private func requireOneRegion(_ source: String, _ target: String) async throws(StoreError) {
        guard dialect == .oss, source != target else { return }
        let regions = (try await store(source).configuration.region, try await store(target).configuration.region)
        guard regions.0 == regions.1 else {
            throw .elsewhere("OSS does not copy from \(source) in \(regions.0) to \(target) in \(regions.1)")
        }
    }

    package func delete(
        _ key: ObjectKey, version: String?, condition: WriteCondition
    ) async throws(StoreError) {
        switch try writable(key) {
        case .bucket(let bucket): try await remove(bucket)
        case .object(let bucket, let key):
            try await store(bucket).delete(key, version: version, condition: condition)
        }
    }

    package func delete(_ keys: [ObjectKey]) async throws(StoreError) -> [DeleteFailure] {
        var failures: [DeleteFailure] = []
        var objects: [String: [ObjectKey]] = [:]
        var emptied: [String] = []
        for key in keys {
            switch try writable(key) {
            case .bucket(let bucket): emptied.append(bucket)
            case .object(let bucket, let inner): objects[bucket, default: []].append(inner)
            }
        }
        for (bucket, keys) in objects.sorted(by: { $0.key < $1.key }) {
            failures += try await store(bucket).delete(keys).map {
                DeleteFailure(key: ObjectKey(bucket + "/") + $0.key.bytes, error: $0.error)
            }
        }
        for bucket in emptied {
            do throws(StoreError) {
                try await remove(bucket)
            } catch {
                if error.kind == .cancelled { throw error }
                failures.append(DeleteFailure(key: ObjectKey(bucket + "/"), error: error))
            }
        }
        return failures
    }

    package func beginUpload(_ key: ObjectKey, _ draft: ObjectDraft) async throws(StoreError) -> MultipartUpload {
        guard case .object(let bucket, let inner) = try writable(key) else {
            throw .unsupported("\(key) is a bucket, which has no content of its own")
        }
        let upload = try await store(bucket).beginUpload(inner, draft)
        return MultipartUpload(key: key, id: upload.id)
    }

    package func uploadPart(
        _ upload: MultipartUpload, number: Int, _ body: Payload
    ) async throws(StoreError) -> UploadedPart {
        let (store, upload) = try await inner(upload)
        return try await store.uploadPart(upload, number: number, body)
    }

    package func copyPart(
        _ upload: MultipartUpload, number: Int, from source: CopySource, range: Range<UInt64>
    ) async throws(StoreError) -> UploadedPart {
        let (store, upload) = try await inner(upload)
        let (bucket, source) = try copied(source)
        try await requireOneRegion(bucket, store.configuration.bucket)
        return try await store.copyPart(upload, number: number, from: source, of: bucket, range: range)
    }

    package func completeUpload(
        _ upload: MultipartUpload, _ parts: [UploadedPart], _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord {
        let (store, upload) = try await inner(upload)
        return try await store.completeUpload(upload, parts, draft)
    }

    package func abortUpload(_ upload: MultipartUpload) async throws(StoreError) {
        let (store, upload) = try await inner(upload)
        try await store.abortUpload(upload)
    }

    // MARK: - Routing

    private enum Target {
        case bucket(String)
        case object(bucket: String, ObjectKey)
    }

    private func writable(_ key: ObjectKey) throws(StoreError) -> Target {
        guard case .bucket(let bucket, let inner) = AccountPlace(key) else {
            throw .unsupported("\(key): there are only buckets here; files go into one of them")
        }
        return inner.isEmpty ? .bucket(bucket) : .object(bucket: bucket, inner)
    }

    private func copied(_ source: CopySource) throws(StoreError) -> (bucket: String, CopySource) {
        guard case .object(let bucket, let key) = try writable(source.key) else {
            throw StoreError(.noSuchKey, code: "NoSuchKey", message: "\(source.key) is a bucket")
        }
        var source = source
        source.key = key
        return (bucket, source)
    }

    private func inner(_ upload: MultipartUpload) async throws(StoreError) -> (BucketStore, MultipartUpload) {
        guard case .object(let bucket, let key) = try writable(upload.key) else {
            throw .unsupported("\(upload.key) is a bucket")
        }
        return (try await store(bucket), MultipartUpload(key: key, id: upload.id))
    }
}
