import HTTP
package import ThawCore
package import Wire

extension BucketStore {
    package func beginUpload(_ key: ObjectKey, _ draft: ObjectDraft) async throws(StoreError) -> MultipartUpload {
        let response: HTTPResponse
        do throws(StoreError) {
            response = try await exchange.send(try beginning(key, draft), expecting: [200])
        } catch {
            guard refusesChecksum(error) else { throw error }
            response = try await exchange.send(try beginning(key, draft), expecting: [200])
        }
        let id: String?
        do throws(XMLError) {
            id = try UploadReply.id(response.body)
        } catch {
            throw nonsense(response, error.description)
        }
        guard let id, !id.isEmpty else { throw nonsense(response, "an upload without an id") }
        return MultipartUpload(key: key, id: id)
    }

    private func beginning(_ key: ObjectKey, _ draft: ObjectDraft) throws(StoreError) -> StoreRequest {
        StoreRequest(
            method: .post, key: key, query: [QueryItem("uploads")] + spoken.keyEncodingQuery,
            headers: try headers(of: draft) + (isChecksumRefused ? [] : spoken.uploadChecksumHeaders))
    }

    package func uploadPart(
        _ upload: MultipartUpload, number: Int, _ body: Payload
    ) async throws(StoreError) -> UploadedPart {
        let request = StoreRequest(
            method: .put, key: upload.key, query: partQuery(upload, number), body: .object(body), timeout: nil)
        let (response, sum) = try await sendSummed(request, body)
        guard let etag = response.head["etag"] else { throw nonsense(response, "a part without an entity tag") }
        return UploadedPart(number: number, sizeBytes: body.sizeBytes, etag: etag, checksum: sum.crc64)
    }

    package func copyPart(
        _ upload: MultipartUpload, number: Int, from source: CopySource, range: Range<UInt64>
    ) async throws(StoreError) -> UploadedPart {
        try await copyPart(upload, number: number, from: source, of: configuration.bucket, range: range)
    }

    /// - Parameter bucket: the source's
    func copyPart(
        _ upload: MultipartUpload, number: Int, from source: CopySource, of bucket: String, range: Range<UInt64>
    ) async throws(StoreError) -> UploadedPart {
        guard !range.isEmpty else {
            throw StoreError(.invalidRange, code: "EmptyRange", message: "a copy of no bytes")
        }
        var headers = copyHeaders(source, of: bucket)
        headers.append(
            (spoken.headerPrefix + "copy-source-range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)"))
        let response = try await exchange.send(
            StoreRequest(
                method: .put, key: upload.key, query: partQuery(upload, number), headers: headers,
                timeout: Self.serverWorkMax, stallMax: Self.serverWorkMax),
            expecting: [200])
        let reply = try writeReply(response)
        guard let etag = reply.etag else { throw nonsense(response, "a copied part without an entity tag") }
        return UploadedPart(
            number: number, sizeBytes: UInt64(range.count), etag: etag,
            checksum: reply.crc64 ?? spoken.checksum(response.head))
    }

    package func completeUpload(
        _ upload: MultipartUpload, _ parts: [UploadedPart], _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord {
        let whole = parts.checksum(CRC64.Function(dialect))
        var headers = conditionHeaders(draft.condition)
        if let whole, !isChecksumRefused { headers += spoken.completionChecksumHeaders(whole) }
        let response: HTTPResponse
        do throws(StoreError) {
            response = try await exchange.send(
                StoreRequest(
                    method: .post, key: upload.key, query: [QueryItem("uploadId", upload.id)] + spoken.keyEncodingQuery,
                    headers: headers, body: .document(document(of: parts)), timeout: Self.serverWorkMax,
                    stallMax: Self.serverWorkMax),
                expecting: [200])
        } catch {
            throw await explained(error, upload.key)
        }
        let reply = try writeReply(response)
        if let whole { try verify(response, reply.crc64 ?? spoken.checksum(response.head), is: whole) }
        return try written(
            response, etag: reply.etag ?? response.head["etag"], sizeBytes: parts.reduce(0) { $0 + $1.sizeBytes },
            storageClass: draft.storageClass, draft.headers)
    }

    package func abortUpload(_ upload: MultipartUpload) async throws(StoreError) {
        do throws(StoreError) {
            _ = try await exchange.send(
                StoreRequest(method: .delete, key: upload.key, query: [QueryItem("uploadId", upload.id)]),
                expecting: [200, 204])
        } catch {
            guard error.kind == .noSuchUpload || error.kind == .noSuchKey else { throw error }
        }
    }

    private func partQuery(_ upload: MultipartUpload, _ number: Int) -> [QueryItem] {
        [QueryItem("partNumber", "\(number)"), QueryItem("uploadId", upload.id)]
    }

    private func document(of parts: [UploadedPart]) -> [UInt8] {
        var document = XMLWriter()
        document.element("CompleteMultipartUpload", namespace: spoken.documentNamespace) { document in
            for part in parts {
                document.element("Part") { xml in
                    xml.element("PartNumber", part.number)
                    xml.element("ETag", part.etag)
                    if dialect.speaksS3, !isChecksumRefused, let checksum = part.checksum {
                        xml.element("ChecksumCRC64NVME", CRC64.base64(checksum))
                    }
                }
            }
        }
        return document.bytes
    }
}

extension [UploadedPart] {
    /// Of the parts joined; nil when that of one is not known.
    package func checksum(_ function: CRC64.Function) -> UInt64? {
        var whole: UInt64 = 0
        for part in self {
            guard let checksum = part.checksum else { return nil }
            whole = CRC64.combine(whole, checksum, secondBytes: part.sizeBytes, function)
        }
        return whole
    }
}
