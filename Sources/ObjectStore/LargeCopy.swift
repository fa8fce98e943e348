package import ThawCore
package import Wire

/// Remembers uploads in parts that are under way: one that nobody goes on with costs money until somebody aborts it.
package protocol UploadNotes: Sendable {
    func rememberUpload(_ upload: MultipartUpload) async
    /// It was completed, or aborted.
    func forgetUpload(_ upload: MultipartUpload) async
}

/// Copies objects of any size within a store.
package struct LargeCopy: Sendable {
    /// CopyObject takes 1 GB on OSS (Alibaba Cloud OSS, "UploadPartCopy": larger ones are copied by parts) and 5 GB on
    /// S3.
    package static func wholeBytesMax(_ dialect: Dialect) -> UInt64 {
        switch dialect {
        case .oss: 1 << 30
        case .s3, .cos: 5 << 30
        // A copy is another name in the vault's catalogue.
        case .oas: .max
        }
    }

    /// What one request copies of a larger object, unless that makes more than 10,000 parts.
    private static let partBytes: UInt64 = 256 << 20
    private static let partsMax: UInt64 = 10_000
    /// Requests at once.
    private static let requestsMax = 8

    private let store: any ObjectStore
    private let notes: (any UploadNotes)?
    private let wholeBytesMax: UInt64
    private let partBytes: UInt64

    /// - Parameters:
    ///   - notes: of copies by parts
    ///   - wholeBytesMax: what is copied by one request; nil for what the dialect allows
    ///   - partBytes: nil for the usual
    package init(
        _ store: any ObjectStore, notes: (any UploadNotes)?, wholeBytesMax: UInt64? = nil, partBytes: UInt64? = nil
    ) {
        self.store = store
        self.notes = notes
        self.wholeBytesMax = wholeBytesMax ?? Self.wholeBytesMax(store.dialect)
        self.partBytes = partBytes ?? Self.partBytes
    }

    /// As `ObjectStore.copy`. An object that is replaced meanwhile fails the copy with `preconditionFailed`; a copy
    /// that fails or is cancelled leaves nothing behind.
    package func copy(
        _ source: CopySource, to key: ObjectKey, _ draft: ObjectDraft?
    ) async throws(StoreError) -> ObjectRecord {
        var source = source
        if source.record == nil { source.record = try await store.head(source.key, version: source.version) }
        guard let sizeBytes = source.record?.sizeBytes, sizeBytes > wholeBytesMax else {
            return try await store.copy(source, to: key, draft)
        }
        let original = try await store.describe(source.key, version: source.version)
        if let etag = source.etag, etag != original.record.etag { throw .replaced(source.key) }
        source.etag = original.record.etag
        var draft = draft ?? ObjectDraft(headers: original.headers, storageClass: original.record.storageClass)
        // The copy by one request is refused by what it says of its source; the parts are one object at their end only.
        let isUnchanged = WriteCondition.matches(etag: original.record.etag)
        if key == source.key, source.version == nil, draft.condition == .always, store.checks(isUnchanged) {
            draft.condition = isUnchanged
        }
        let upload = try await store.beginUpload(key, draft)
        await notes?.rememberUpload(upload)
        do throws(StoreError) {
            let parts = try await parts(of: source, original.record.sizeBytes, to: upload)
            let record = try await store.completeUpload(upload, parts, draft)
            await notes?.forgetUpload(upload)
            return record
        } catch {
            await abort(upload)
            throw error
        }
    }

    private func parts(
        of source: CopySource, _ sizeBytes: UInt64, to upload: MultipartUpload
    ) async throws(StoreError) -> [UploadedPart] {
        let partBytes = max(partBytes, (sizeBytes + Self.partsMax - 1) / Self.partsMax)
        let ranges = stride(from: 0, to: sizeBytes, by: Int(partBytes)).map { $0..<min($0 + partBytes, sizeBytes) }
        let results = await withTaskGroup(of: Result<UploadedPart, StoreError>.self) { group in
            var next = ranges.indices.makeIterator()
            func add() {
                guard let index = next.next() else { return }
                group.addTask { [store] in
                    do throws(StoreError) {
                        return .success(
                            try await store.copyPart(upload, number: index + 1, from: source, range: ranges[index]))
                    } catch {
                        return .failure(error)
                    }
                }
            }
            for _ in 0..<Self.requestsMax { add() }
            var results: [Result<UploadedPart, StoreError>] = []
            for await result in group {
                results.append(result)
                if case .failure = result { break }
                add()
            }
            group.cancelAll()
            return results
        }
        var parts: [UploadedPart] = []
        for result in results { parts.append(try result.get()) }
        return parts.sorted { $0.number < $1.number }
    }

    /// Also when the task is cancelled, which would cancel this request, too.
    private func abort(_ upload: MultipartUpload) async {
        await Task { [store, notes] in
            // What cannot be aborted stays noted; the copy's own failure is what is told.
            do throws(StoreError) { try await store.abortUpload(upload) } catch { return }
            await notes?.forgetUpload(upload)
        }.value
    }
}

extension StoreError {
    static func replaced(_ key: ObjectKey) -> StoreError {
        StoreError(.preconditionFailed, code: "PreconditionFailed", message: "\(key) is another object by now")
    }
}
