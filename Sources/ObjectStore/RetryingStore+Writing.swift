package import ThawCore
import Wire

extension RetryingStore {
    package func checks(_ condition: WriteCondition) -> Bool { store.checks(condition) }

    package func describe(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectDescription {
        try await retrying("describe", key) { () async throws(StoreError) in
            try await store.describe(key, version: version)
        }
    }

    package func put(
        _ key: ObjectKey, _ body: Payload, _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord {
        var draft = draft
        return try await settling("put", key, sendsAgain: true) { () async throws(StoreError) in
            do throws(StoreError) {
                return try await store.put(key, body, draft)
            } catch {
                // OSS has stored what it tells the wrong checksum of: that is ours to replace.
                if error.kind == .corrupted, dialect == .oss, draft.condition == .isAbsent,
                    try await ours(key, sizeBytes: body.sizeBytes, checksum: nil, draft) != nil
                {
                    draft.condition = .always
                }
                throw error
            }
        } ifOurs: { () async throws(StoreError) in
            guard draft.condition != .always else { return nil }
            let sum = try await body.sum(CRC64.Function(dialect), withMD5: false)
            return try await ours(key, sizeBytes: body.sizeBytes, checksum: sum.crc64, draft)
        }
    }

    package func copy(
        _ source: CopySource, to key: ObjectKey, _ draft: ObjectDraft?
    ) async throws(StoreError) -> ObjectRecord {
        try await settling("copy", key, onlyInDoubt: source.key != key) { () async throws(StoreError) in
            try await store.copy(source, to: key, draft)
        } ifOurs: { () async throws(StoreError) in
            // A copy onto itself may change the ETag that it asks for, and then be refused when it is sent again.
            guard let draft, draft.condition != .always || source.key == key else { return nil }
            let original = try await describe(source.key, version: source.version)
            guard
                let found = try await ours(
                    key, sizeBytes: original.record.sizeBytes, checksum: original.checksum, draft,
                    withoutTime: { draft.condition != .isAbsent && $0.checksum == original.checksum })
            else { return nil }
            return draft.storageClass.map { $0 == found.storageClass } ?? true ? found : nil
        }
    }

    package func delete(
        _ key: ObjectKey, version: String?, condition: WriteCondition
    ) async throws(StoreError) {
        try await retrying("delete", key) { () async throws(StoreError) in
            try await store.delete(key, version: version, condition: condition)
        }
    }

    /// A store that is busy may delete some of many: only the others are sent again.
    package func delete(_ keys: [ObjectKey]) async throws(StoreError) -> [DeleteFailure] {
        guard let first = keys.first else { return [] }
        var left = keys
        var failures: [DeleteFailure] = []
        var transient: [DeleteFailure] = []
        do throws(StoreError) {
            try await retrying("delete", first) { () async throws(StoreError) in
                let answer = try await store.delete(left)
                failures += answer.filter { !$0.error.isTransient }
                transient = answer.filter { $0.error.isTransient }
                left = transient.map(\.key)
                if let failure = transient.first { throw failure.error }
            }
        } catch {
            guard !transient.isEmpty, error.kind != .cancelled else { throw error }
        }
        return failures + transient
    }

    /// An upload whose begin was answered and whose answer was lost stays behind, for the bucket's lifecycle rules.
    package func beginUpload(_ key: ObjectKey, _ draft: ObjectDraft) async throws(StoreError) -> MultipartUpload {
        try await retrying("beginUpload", key) { () async throws(StoreError) in
            try await store.beginUpload(key, draft)
        }
    }

    package func uploadPart(
        _ upload: MultipartUpload, number: Int, _ body: Payload
    ) async throws(StoreError) -> UploadedPart {
        try await retrying("uploadPart", upload.key, sendsAgain: true) { () async throws(StoreError) in
            try await store.uploadPart(upload, number: number, body)
        }
    }

    package func copyPart(
        _ upload: MultipartUpload, number: Int, from source: CopySource, range: Range<UInt64>
    ) async throws(StoreError) -> UploadedPart {
        try await retrying("copyPart", upload.key) { () async throws(StoreError) in
            try await store.copyPart(upload, number: number, from: source, range: range)
        }
    }

    package func completeUpload(
        _ upload: MultipartUpload, _ parts: [UploadedPart], _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord {
        try await settling("completeUpload", upload.key) { () async throws(StoreError) in
            try await store.completeUpload(upload, parts, draft)
        } ifOurs: { () async throws(StoreError) in
            let checksum = parts.checksum(CRC64.Function(dialect))
            let found = try await ours(
                upload.key, sizeBytes: parts.reduce(0) { $0 + $1.sizeBytes }, checksum: checksum, draft,
                withoutTime: { found in
                    guard draft.condition != .isAbsent else { return false }
                    // Where no checksum tells, the ETag does of how many parts it is: both dialects end it so.
                    return checksum != nil && found.checksum != nil || found.record.etag.hasSuffix("-\(parts.count)\"")
                })
            guard let found, let wanted = draft.storageClass else { return found }
            return wanted == found.storageClass ? found : nil
        }
    }

    package func abortUpload(_ upload: MultipartUpload) async throws(StoreError) {
        try await retrying("abortUpload", upload.key) { () async throws(StoreError) in
            try await store.abortUpload(upload)
        }
    }

    // MARK: - Doubt

    /// Retries a write that succeeds once only. If the reply to it was lost, the store may refuse the next attempt
    /// because of the first: then what is there decides. libcurl sends again without telling when a connection that was
    /// kept alive breaks, so that even the first refusal that is seen may be one of these.
    ///
    /// - Parameters:
    ///   - onlyInDoubt: looks only after a failure that may have followed success
    ///   - ifOurs: the object that is there, if it is the one that was to be written
    private func settling(
        _ operation: StaticString, _ key: ObjectKey, sendsAgain: Bool = false, onlyInDoubt: Bool = false,
        _ write: () async throws(StoreError) -> ObjectRecord,
        ifOurs: () async throws(StoreError) -> ObjectRecord?
    ) async throws(StoreError) -> ObjectRecord {
        var isInDoubt = !onlyInDoubt
        return try await retrying(operation, key, sendsAgain: sendsAgain) { () async throws(StoreError) in
            do throws(StoreError) {
                return try await write()
            } catch {
                if isInDoubt, error.kind == .preconditionFailed || error.kind == .noSuchUpload,
                    let record = try await ifOurs()
                {
                    return record
                }
                isInDoubt = isInDoubt || error.mayFollowSuccess
                throw error
            }
        }
    }

    /// The object, if its size, its user metadata and, as far as it is told, its checksum are these. The metadata
    /// should hold the file's time: no other write has it to the nanosecond.
    ///
    /// - Parameter isOurs: decides where the metadata does not hold it; nil: no such object is ours
    private func ours(
        _ key: ObjectKey, sizeBytes: UInt64, checksum: UInt64?, _ draft: ObjectDraft,
        withoutTime isOurs: ((ObjectDescription) -> Bool)? = nil
    ) async throws(StoreError) -> ObjectRecord? {
        let hasTime = draft.headers.metadata["mtime"] != nil
        guard hasTime || isOurs != nil else { return nil }
        let found: ObjectDescription
        do throws(StoreError) {
            found = try await describe(key, version: nil)
        } catch {
            if error.kind == .noSuchKey { return nil }
            throw error
        }
        guard found.record.sizeBytes == sizeBytes, found.headers.metadata == draft.headers.metadata else { return nil }
        guard hasTime || isOurs?(found) ?? false else { return nil }
        guard let theirs = found.checksum, let checksum else { return found.record }
        return theirs == checksum ? found.record : nil
    }
}

extension StoreError {
    /// Whether the store may have done what it was asked, although this is all that we know.
    package var mayFollowSuccess: Bool {
        isTransient && code != "ConnectionFailed" && (status == 0 || status < 400 || status >= 500)
    }
}
