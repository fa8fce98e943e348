package import ObjectStore
internal import Synchronization
package import ThawCore
internal import Wire

extension FakeStore.Object {
    /// What a HEAD or a GET says.
    var told: ObjectRecord {
        var record = record
        record.attributes = FileAttributes(metadata: headers.metadata)
        return record
    }
}

extension FakeStore {
    /// A multipart upload that was begun.
    struct Upload {
        var key: ObjectKey
        var draft: ObjectDraft
        var parts: [Int: (etag: String, content: [UInt8])] = [:]
    }

    // MARK: Looking

    package func content(_ key: ObjectKey, version: String? = nil) -> [UInt8]? {
        state.withLock { $0.object(key, version)?.content }
    }

    package func headers(_ key: ObjectKey, version: String? = nil) -> ObjectHeaders? {
        state.withLock { $0.object(key, version)?.headers }
    }

    /// Of the objects that are there, in order.
    package var keys: [ObjectKey] { state.withLock { $0.history.compactMapValues(\.first?.object).keys.sorted() } }

    /// Of multipart uploads that were neither completed nor aborted.
    package var openUploads: [ObjectKey] { state.withLock { $0.uploads.values.map(\.key).sorted() } }

    /// Puts an object with user metadata.
    package func put(_ key: ObjectKey, _ content: [UInt8] = [], metadata: [String: String]) {
        put(key, content)
        state.withLock { $0.history[key]?[0].object?.headers.metadata = metadata }
    }

    // MARK: ObjectStore

    package func checks(_ condition: WriteCondition) -> Bool {
        if case .matches = condition { dialect == .s3 } else { true }
    }

    package func describe(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectDescription {
        try await note(.describe(key))
        let object = try found(key, version)
        return ObjectDescription(
            record: object.told, headers: object.headers, checksum: CRC64.of(object.content, function))
    }

    package func put(
        _ key: ObjectKey, _ body: Payload, _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord {
        try await note(.put(key, draft))
        let record = try store(try bytes(body), at: key, draft)
        try await reply(.put(key, draft))
        return record
    }

    package func copy(
        _ source: CopySource, to key: ObjectKey, _ draft: ObjectDraft?
    ) async throws(StoreError) -> ObjectRecord {
        try await note(.copy(source, key))
        let object = try copied(source)
        var copy = draft ?? ObjectDraft(headers: object.headers)
        copy.storageClass = draft == nil ? source.record?.storageClass : draft?.storageClass
        let record = try store(object.content, at: key, copy)
        try await reply(.copy(source, key))
        return record
    }

    package func delete(
        _ key: ObjectKey, version: String?, condition: WriteCondition
    ) async throws(StoreError) {
        try await note(.delete(key))
        if state.withLock({ $0.object(key, version) }) != nil {
            try check(condition, key)
            if let version {
                state.withLock { state in
                    state.history[key]?.removeAll { $0.id == version }
                    if state.history[key]?.isEmpty == true { state.history[key] = nil }
                }
            } else {
                remove(key)
            }
        }
        try await reply(.delete(key))
    }

    package func delete(_ keys: [ObjectKey]) async throws(StoreError) -> [DeleteFailure] {
        try await note(.deleteMany(keys))
        guard (1...1000).contains(keys.count) else {
            throw StoreError(.invalidRequest, status: 400, code: "MalformedXML", message: "\(keys.count) keys")
        }
        for key in keys { remove(key) }
        try await reply(.deleteMany(keys))
        return []
    }

    package func beginUpload(_ key: ObjectKey, _ draft: ObjectDraft) async throws(StoreError) -> MultipartUpload {
        try await note(.beginUpload(key))
        return state.withLock { state in
            state.puts += 1
            let id = "upload-\(state.puts)"
            state.uploads[id] = Upload(key: key, draft: draft)
            return MultipartUpload(key: key, id: id)
        }
    }

    package func uploadPart(
        _ upload: MultipartUpload, number: Int, _ body: Payload
    ) async throws(StoreError) -> UploadedPart {
        try await note(.uploadPart(number))
        let content = try bytes(body)
        let etag = try keep(content, as: number, of: upload)
        return UploadedPart(
            number: number, sizeBytes: UInt64(content.count), etag: etag, checksum: CRC64.of(content, function))
    }

    package func copyPart(
        _ upload: MultipartUpload, number: Int, from source: CopySource, range: Range<UInt64>
    ) async throws(StoreError) -> UploadedPart {
        try await note(.copyPart(number, range))
        let object = try copied(source)
        guard !range.isEmpty, range.upperBound <= UInt64(object.content.count) else {
            throw StoreError(.invalidRange, status: 416, code: "InvalidRange", message: "past the end")
        }
        let content = Array(object.content[Int(range.lowerBound)..<Int(range.upperBound)])
        let etag = try keep(content, as: number, of: upload)
        return UploadedPart(number: number, sizeBytes: UInt64(content.count), etag: etag, checksum: nil)
    }

    package func completeUpload(
        _ upload: MultipartUpload, _ parts: [UploadedPart], _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord {
        try await note(.completeUpload(upload.key))
        let begun = try begun(upload)
        var content: [UInt8] = []
        for (index, part) in parts.enumerated() {
            guard index == 0 || parts[index - 1].number < part.number else {
                throw StoreError(.invalidRequest, status: 400, code: "InvalidPartOrder", message: "\(part.number)")
            }
            guard let kept = begun.parts[part.number], kept.etag == part.etag else {
                throw StoreError(.invalidRequest, status: 400, code: "InvalidPart", message: "\(part.number)")
            }
            content += kept.content
        }
        var whole = begun.draft
        whole.condition = draft.condition
        let record = try store(content, at: upload.key, whole)
        state.withLock { $0.uploads[upload.id] = nil }
        try await reply(.completeUpload(upload.key))
        return record
    }

    package func abortUpload(_ upload: MultipartUpload) async throws(StoreError) {
        try await note(.abortUpload(upload.key))
        state.withLock { $0.uploads[upload.id] = nil }
    }

    // MARK: Parts

    private var function: CRC64.Function { CRC64.Function(dialect) }

    private func reply(_ call: Call) async throws(StoreError) {
        let script = state.withLock { $0.afterWrites }
        try await script(call)
    }

    private func bytes(_ body: Payload) throws(StoreError) -> [UInt8] {
        switch body {
        case .bytes(let bytes): return bytes
        case .file(let file, let range):
            var bytes = [UInt8](repeating: 0, count: range.count)
            let count = bytes.withUnsafeMutableBytes { file.read(into: $0, at: range.lowerBound) }
            guard count == .success(range.count) else {
                throw StoreError(.unreadable, code: "LocalReadFailed", message: "\(count) of \(range.count) bytes")
            }
            return bytes
        }
    }

    private func check(_ condition: WriteCondition, _ key: ObjectKey) throws(StoreError) {
        let current = record(key)
        let holds =
            switch condition {
            case .always: true
            case .isAbsent: current == nil
            case .matches(let etag): dialect == .oss || current?.etag == etag
            }
        guard holds else {
            throw StoreError(.preconditionFailed, status: 412, code: "PreconditionFailed", message: "\(condition)")
        }
    }

    private func store(
        _ content: [UInt8], at key: ObjectKey, _ draft: ObjectDraft
    ) throws(StoreError) -> ObjectRecord {
        try check(draft.condition, key)
        return state.withLock { state in
            state.puts += 1
            let record = ObjectRecord(
                sizeBytes: UInt64(content.count), modified: state.time, etag: Self.etag(state.puts),
                storageClass: draft.storageClass ?? StorageClass(dialect == .s3 ? "STANDARD" : "Standard"),
                versionID: state.keepsVersions ? "v\(state.puts)" : nil)
            let object = Object(record: record, content: content, headers: draft.headers)
            state.add(Version(id: record.versionID ?? "null", object: object), to: key)
            return object.told
        }
    }

    private func copied(_ source: CopySource) throws(StoreError) -> Object {
        let object = try found(source.key, source.version)
        if let etag = source.etag, etag != object.record.etag {
            throw StoreError(.preconditionFailed, status: 412, code: "PreconditionFailed", message: "replaced")
        }
        var isFrozen = object.record.archiveStatus != nil || object.record.storageClass.archiveRules(dialect) != nil
        if case .restored = object.record.restore { isFrozen = false }
        guard !isFrozen else {
            throw StoreError(.invalidObjectState, status: 403, code: "InvalidObjectState", message: "frozen")
        }
        return object
    }

    private func begun(_ upload: MultipartUpload) throws(StoreError) -> Upload {
        guard let begun = state.withLock({ $0.uploads[upload.id] }), begun.key == upload.key else {
            throw StoreError(.noSuchUpload, status: 404, code: "NoSuchUpload", message: "no such upload")
        }
        return begun
    }

    private func keep(_ content: [UInt8], as number: Int, of upload: MultipartUpload) throws(StoreError) -> String {
        _ = try begun(upload)
        return state.withLock { state in
            state.puts += 1
            let etag = Self.etag(state.puts)
            state.uploads[upload.id]?.parts[number] = (etag, content)
            return etag
        }
    }

    /// As long as an MD5, and another for every write.
    private static func etag(_ number: Int) -> String {
        let digits = String(number, radix: 16)
        return "\"" + String(repeating: "0", count: 32 - digits.count) + digits + "\""
    }
}
