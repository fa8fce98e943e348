import HTTP
package import ThawCore
import Wire

extension BucketStore {
    package func checks(_ condition: WriteCondition) -> Bool {
        if case .matches = condition { dialect.speaksS3 } else { true }
    }

    package func describe(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectDescription {
        let response = try await exchange.send(
            StoreRequest(
                method: .head, key: key, query: versionQuery(version), headers: [Self.identity] + spoken.describeHeaders),
            expecting: [200]
        )
        return ObjectDescription(
            record: try record(ofHead: response), headers: ObjectHeaders(response.head, spoken),
            checksum: spoken.checksum(response.head), protection: ObjectProtection(response.head))
    }

    /// IBM COS denies what retention or a legal hold forbids in the same words as anything else; a HEAD tells them
    /// apart.
    func explained(_ error: StoreError, _ key: ObjectKey, version: String? = nil) async -> StoreError {
        guard dialect == .cos, error.code == "AccessDenied",
            let protection = try? await describe(key, version: version).protection,
            protection.isInForce(at: exchange.now)
        else { return error }
        var explained = error
        explained.kind = .protected
        explained.message += " The object is protected: \(protection)."
        return explained
    }

    package func put(
        _ key: ObjectKey, _ body: Payload, _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord {
        let request = StoreRequest(
            method: .put, key: key, headers: try headers(of: draft) + conditionHeaders(draft.condition),
            body: .object(body), timeout: nil)
        let response: HTTPResponse
        do throws(StoreError) { response = try await sendSummed(request, body).0 } catch {
            throw await explained(error, key)
        }
        return try written(
            response, etag: response.head["etag"], sizeBytes: body.sizeBytes, storageClass: draft.storageClass,
            draft.headers)
    }

    package func copy(
        _ source: CopySource, to key: ObjectKey, _ draft: ObjectDraft?
    ) async throws(StoreError) -> ObjectRecord {
        try await copy(source, of: configuration.bucket, to: key, draft)
    }

    /// - Parameter bucket: the source's
    func copy(
        _ source: CopySource, of bucket: String, to key: ObjectKey, _ draft: ObjectDraft?
    ) async throws(StoreError) -> ObjectRecord {
        let storageClass = spoken.namesClass ? draft.map(\.storageClass) ?? source.record?.storageClass : nil
        var headers = copyHeaders(source, of: bucket)
        headers.append((spoken.headerPrefix + "metadata-directive", draft == nil ? "COPY" : "REPLACE"))
        if let draft { headers += try draft.headers.wire(spoken) + conditionHeaders(draft.condition) }
        headers += classHeader(storageClass)
        let response: HTTPResponse
        do throws(StoreError) {
            response = try await exchange.send(
                StoreRequest(
                    method: .put, key: key, headers: headers, timeout: Self.serverWorkMax,
                    stallMax: Self.serverWorkMax),
                expecting: [200])
        } catch {
            throw await explained(error, key)
        }
        let reply = try writeReply(response)
        guard var record = source.record else { return try await head(key, version: nil) }
        guard let etag = reply.etag else { throw nonsense(response, "a copy without an entity tag") }
        record.etag = etag
        record.modified = reply.modified ?? date(response)
        record.storageClass = storageClass ?? (spoken.namesClass ? record.storageClass : spoken.defaultClass)
        (record.restore, record.archiveStatus) = (nil, nil)
        record.versionID = response.head[spoken.headerPrefix + "version-id"]
        if let draft { record.attributes = FileAttributes(metadata: draft.headers.metadata) }
        return record
    }

    package func delete(
        _ key: ObjectKey, version: String?, condition: WriteCondition
    ) async throws(StoreError) {
        do throws(StoreError) {
            _ = try await exchange.send(
                StoreRequest(
                    method: .delete, key: key, query: versionQuery(version), headers: conditionHeaders(condition)),
                expecting: [200, 204])
        } catch {
            guard error.kind == .noSuchKey else { throw await explained(error, key, version: version) }
        }
    }

    package func delete(_ keys: [ObjectKey]) async throws(StoreError) -> [DeleteFailure] {
        var failures: [DeleteFailure] = []
        let named = keys.filter(\.isXMLText)
        if !named.isEmpty { failures = try await deleteAtOnce(named) }
        for key in keys where !key.isXMLText {
            do throws(StoreError) {
                try await delete(key, version: nil, condition: .always)
            } catch {
                if error.kind == .cancelled { throw error }
                failures.append(DeleteFailure(key: key, error: error))
            }
        }
        return failures
    }

    private func deleteAtOnce(_ keys: [ObjectKey]) async throws(StoreError) -> [DeleteFailure] {
        var document = XMLWriter()
        document.element("Delete", namespace: spoken.documentNamespace) { document in
            document.element("Quiet", true)
            for key in keys { document.element("Object") { $0.element("Key", bytes: key.bytes) } }
        }
        let response = try await exchange.send(
            StoreRequest(
                method: .post, query: [QueryItem("delete")] + spoken.keyEncodingQuery, body: .document(document.bytes)),
            expecting: [200])
        try requireNoError(response)
        let reply: DeleteReply
        do throws(XMLError) {
            reply = try DeleteReply(response.body, dialect)
        } catch {
            throw nonsense(response, error.description)
        }
        var failures: [DeleteFailure] = []
        for failure in reply.failures {
            let key = ObjectKey(
                reply.isURLEncoded ? PercentEncoding.decode(failure.key) ?? failure.key : failure.key)
            let error = StoreError(
                StoreError.Kind(code: failure.code, status: 400, message: failure.message),
                status: response.status, code: failure.code, message: failure.message,
                requestID: requestID(response))
            failures.append(DeleteFailure(key: key, error: await explained(error, key)))
        }
        return failures
    }

    // MARK: - Parts of requests

    /// How long a store may be silent while it works: a copy of 5 GB, the joining of 10,000 parts.
    static let serverWorkMax = Duration.seconds(600)

    /// What an object is stored with, its conditions apart.
    func headers(of draft: ObjectDraft) throws(StoreError) -> [(name: String, value: String)] {
        try draft.headers.wire(spoken) + classHeader(draft.storageClass)
    }

    private func classHeader(_ storageClass: StorageClass?) -> [(name: String, value: String)] {
        guard let storageClass, spoken.namesClass else { return [] }
        return [(spoken.headerPrefix + "storage-class", storageClass.name)]
    }

    /// OSS refuses to overwrite and knows no other condition (its PutObject, CopyObject, CompleteMultipartUpload).
    func conditionHeaders(_ condition: WriteCondition) -> [(name: String, value: String)] {
        switch (condition, dialect) {
        case (.always, _), (.matches, .oss): []
        case (.isAbsent, .oss): [("x-oss-forbid-overwrite", "true")]
        case (.isAbsent, .s3), (.isAbsent, .cos): [("if-none-match", "*")]
        case (.matches(let etag), .s3), (.matches(let etag), .cos): [("if-match", etag)]
        case (_, .oas): []
        }
    }

    func copyHeaders(_ source: CopySource, of bucket: String) -> [(name: String, value: String)] {
        var place = "/\(bucket)/" + PercentEncoding.encode(source.key.bytes, keepingSlash: true)
        if let version = source.version { place += "?versionId=" + PercentEncoding.encode(version) }
        var headers = [(name: spoken.headerPrefix + "copy-source", value: place)]
        if let etag = source.etag { headers.append((spoken.headerPrefix + "copy-source-if-match", etag)) }
        return headers
    }

    // MARK: - Parts of replies

    /// The store's date of the reply.
    func date(_ response: HTTPResponse) -> Timestamp {
        response.head["date"].flatMap { WireDate.parseRFC1123($0) } ?? exchange.now
    }

    /// What an object is that has just been written.
    func written(
        _ response: HTTPResponse, etag: String?, sizeBytes: UInt64, storageClass: StorageClass?,
        _ headers: ObjectHeaders
    ) throws(StoreError) -> ObjectRecord {
        guard let etag, !etag.isEmpty else { throw nonsense(response, "a write without an entity tag") }
        let told = response.head[spoken.headerPrefix + "storage-class"].map { StorageClass($0) }
        return ObjectRecord(
            sizeBytes: sizeBytes, modified: date(response), etag: etag,
            storageClass: told ?? (spoken.namesClass ? storageClass : nil) ?? spoken.defaultClass,
            versionID: response.head[spoken.headerPrefix + "version-id"],
            attributes: FileAttributes(metadata: headers.metadata))
    }

    /// A reply may be an error in spite of its status.
    private func requireNoError(_ response: HTTPResponse) throws(StoreError) {
        guard let document = ErrorDocument(response.body) else { return }
        let code = document.code ?? "NoCode"
        throw StoreError(
            StoreError.Kind(code: code, status: 500, message: document.message ?? ""), status: response.status,
            code: code, message: document.message ?? "the store began a reply with success and failed",
            requestID: document.requestID ?? requestID(response))
    }

    func writeReply(_ response: HTTPResponse) throws(StoreError) -> WriteReply {
        try requireNoError(response)
        do throws(XMLError) {
            return try WriteReply(response.body)
        } catch {
            throw nonsense(response, error.description)
        }
    }

    /// Sends an object's bytes with their checksum where the store verifies it, and verifies what it answers.
    func sendSummed(_ request: StoreRequest, _ body: Payload) async throws(StoreError) -> (HTTPResponse, BodySum) {
        do throws(StoreError) {
            return try await sendSummed(request, body, withMD5: isChecksumRefused)
        } catch {
            guard refusesChecksum(error) else { throw error }
            return try await sendSummed(request, body, withMD5: true)
        }
    }

    private func sendSummed(
        _ request: StoreRequest, _ body: Payload, withMD5: Bool
    ) async throws(StoreError) -> (HTTPResponse, BodySum) {
        let sum = try await body.sum(CRC64.Function(dialect), withMD5: withMD5)
        var request = request
        if let md5 = sum.md5 {
            request.headers.append(("content-md5", Base64.encode(md5)))
        } else {
            request.headers += spoken.checksumHeaders(sum.crc64)
        }
        let response = try await exchange.send(request, expecting: [200])
        try verify(response, spoken.checksum(response.head), is: sum.crc64)
        return (response, sum)
    }

    /// - Parameter told: what the store has; nil when it tells none
    func verify(_ response: HTTPResponse, _ told: UInt64?, is expected: UInt64) throws(StoreError) {
        guard let told, told != expected else { return }
        throw StoreError(
            .corrupted, status: response.status, code: "ChecksumMismatch",
            message: "the store has bytes of CRC-64 \(told), and \(expected) was sent", requestID: requestID(response))
    }

    /// Whether the store refused a request because it does not know the checksum that came with it. From then on it
    /// gets Content-MD5.
    func refusesChecksum(_ error: StoreError) -> Bool {
        guard dialect.speaksS3, [400, 501].contains(error.status),
            ["InvalidRequest", "InvalidArgument", "NotImplemented", "XNotImplemented"].contains(error.code),
            error.message.lowercased().contains("checksum")
        else { return false }
        learnChecksumIsRefused(error)
        return true
    }
}

extension ObjectKey {
    /// Whether an XML document can carry the key: UTF-8 without control characters and U+FFFE and its kin.
    fileprivate var isXMLText: Bool {
        guard let text = String(validating: bytes, as: UTF8.self) else { return false }
        return text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F && $0.value & 0xFFFE != 0xFFFE }
    }
}
