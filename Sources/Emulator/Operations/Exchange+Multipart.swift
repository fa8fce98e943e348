import Crypto
import ThawCore
import Wire

extension Exchange {
    func createMultipartUpload() throws(ProviderError) -> Reply {
        let upload = try withBucket { tables, bucket throws(ProviderError) in
            let number = try tables.nextSequence()
            let upload = Upload(
                id: Hex.encode(withUnsafeBytes(of: number.bigEndian) { Array($0) } + Array("upload".utf8)),
                key: request.key,
                initiated: .now(),
                storageClass: storageClass(bucket).name,
                headers: sentHeaders()
            )
            try tables.insert(upload, in: bucket)
            return upload
        }
        let encode = encoder(request.parameter("encoding-type") == "url")
        var xml = XMLWriter()
        xml.element("InitiateMultipartUploadResult", namespace: namespace) { xml in
            if request.parameter("encoding-type") == "url" { xml.element("EncodingType", "url") }
            xml.element("Bucket", request.bucketName ?? "")
            xml.element("Key", bytes: encode(request.key.bytes))
            xml.element("UploadId", upload.id)
        }
        return .xml(xml)
    }

    private var uploadID: String { request.parameter("uploadId") ?? "" }

    private func partNumber() throws(ProviderError) -> Int {
        try request.number("partNumber", 1...10_000, default: 0)
    }

    func uploadPart(_ body: ReceivedBody) throws(ProviderError) -> Reply {
        let part = UploadedPart(
            number: try partNumber(),
            sizeBytes: body.sizeBytes,
            etag: Hex.encode(body.md5),
            crc64: body.crc64,
            nvme: body.nvme,
            modified: .now(),
            content: body.content
        )
        try store(part)
        var headers = [("ETag", quoted(part.etag))]
        if request.dialect == .oss {
            headers.append(("x-oss-hash-crc64ecma", String(body.crc64)))
            headers.append(("Content-MD5", Base64.encode(body.md5)))
        } else {
            for (name, value) in body.checksums { headers.append(("x-amz-" + name, value)) }
        }
        return Reply(200, headers: headers)
    }

    func uploadPartCopy() throws(ProviderError) -> Reply {
        let (_, source) = try copySource()
        var range = 0..<source.sizeBytes
        if let header = request.vendorHeader("copy-source-range") {
            guard let wanted = ByteRangeHeader(header), wanted.isInside(source.sizeBytes),
                let clipped = wanted.clipped(source.sizeBytes)
            else {
                throw .invalidArgument(
                    "Range specified is not valid for source object of size: \(source.sizeBytes)"
                )
            }
            range = clipped
        }
        let content = source.content.slice(range)
        // The part's bytes are not read, so its ETag is one of where they are.
        let part = UploadedPart(
            number: try partNumber(),
            sizeBytes: UInt64(range.count),
            etag: Hex.encode(Digest.md5(Array(content.text.utf8))),
            crc64: range.count == source.sizeBytes ? source.crc64 : nil,
            modified: .now(),
            content: content
        )
        try store(part)
        var xml = XMLWriter()
        xml.element("CopyPartResult", namespace: namespace) { xml in
            xml.element("LastModified", wholeSeconds(part.modified))
            xml.element("ETag", quoted(part.etag))
        }
        return .xml(xml)
    }

    private func store(_ part: UploadedPart) throws(ProviderError) {
        let freed = try withBucket { tables, bucket throws(ProviderError) in
            let upload = try tables.upload(bucket, request.key, id: uploadID)
            try tables.retain(part.content)
            return try tables.store(part, of: upload)
        }
        service.blobs.remove(freed)
    }

    private func quoted(_ etag: String) -> String {
        request.dialect == .oss ? "\"\(etag.uppercased())\"" : "\"\(etag)\""
    }

    func listParts() throws(ProviderError) -> Reply {
        let max = try request.number("max-parts", 1...1000, default: 1000)
        let marker = try request.number("part-number-marker", 0...10_000, default: 0)
        let parts = try withBucket { tables, bucket throws(ProviderError) in
            try tables.parts(try tables.upload(bucket, request.key, id: uploadID))
        }.filter { $0.number > marker }
        let page = parts.prefix(max)
        let isEncoded = request.parameter("encoding-type") == "url"
        var xml = XMLWriter()
        xml.element("ListPartsResult", namespace: namespace) { xml in
            if isEncoded { xml.element("EncodingType", "url") }
            xml.element("Bucket", request.bucketName ?? "")
            xml.element("Key", bytes: encoder(isEncoded)(request.key.bytes))
            xml.element("UploadId", uploadID)
            xml.element("PartNumberMarker", marker)
            xml.element("NextPartNumberMarker", page.last?.number ?? 0)
            xml.element("MaxParts", max)
            xml.element("IsTruncated", parts.count > max)
            for part in page {
                xml.element("Part") { xml in
                    xml.element("PartNumber", part.number)
                    xml.element("LastModified", wholeSeconds(part.modified))
                    xml.element("ETag", quoted(part.etag))
                    xml.element("Size", part.sizeBytes)
                    if request.dialect == .oss, let crc64 = part.crc64 { xml.element("HashCrc64ecma", crc64) }
                }
            }
        }
        return .xml(xml)
    }

    func completeMultipartUpload(_ body: [UInt8]) throws(ProviderError) -> Reply {
        let completesAll = request.header("x-oss-complete-all") == "yes"
        let wanted = completesAll ? nil : try readDocument(body, Self.completeDocument)
        let (bucket, version, freed) = try withBucket { tables, bucket throws(ProviderError) in
            try checkOverwrite(tables, bucket)
            let upload = try tables.upload(bucket, request.key, id: uploadID)
            let all = try tables.parts(upload)
            let parts = try chosen(wanted, of: all)
            var version = Self.joined(parts, upload)
            let checksum = try wholeChecksum(parts)
            if let checksum { version.headers.append(("checksum-crc64nvme", checksum)) }
            version.retention = try sentRetention()
            let isUsed = Set(parts.map(\.number))
            // The parts' references become the object's.
            var freed = try tables.release(all.filter { !isUsed.contains($0.number) }.flatMap(\.content))
            freed += try tables.store(&version, in: bucket)
            try tables.remove(upload)
            return (bucket, version, freed)
        }
        service.blobs.remove(freed)
        let checksum = version.headers.first { $0.name == "checksum-crc64nvme" }?.value
        var headers = versionHeader(bucket, version)
        if request.dialect == .oss, let crc64 = version.crc64 {
            headers.append(("x-oss-hash-crc64ecma", String(crc64)))
        }
        let isEncoded = request.parameter("encoding-type") == "url"
        var xml = XMLWriter()
        xml.element("CompleteMultipartUploadResult", namespace: namespace) { xml in
            if isEncoded { xml.element("EncodingType", "url") }
            xml.element("Location", "http://\(request.host)\(request.wirePath)")
            xml.element("Bucket", bucket.name)
            xml.element("Key", bytes: encoder(isEncoded)(request.key.bytes))
            xml.element("ETag", version.etag(request.dialect))
            if request.dialect.speaksS3, let checksum {
                xml.element("ChecksumCRC64NVME", checksum)
                xml.element("ChecksumType", "FULL_OBJECT")
            }
        }
        return .xml(xml, headers: headers)
    }

    /// The whole object's CRC-64/NVME in base64, found to be what the client says; nil where a part has none.
    private func wholeChecksum(_ parts: [UploadedPart]) throws(ProviderError) -> String? {
        var whole: UInt64 = 0
        for part in parts {
            guard let next = part.nvme else { return nil }
            whole = CRC64.combine(whole, next, secondBytes: part.sizeBytes, .nvme)
        }
        let checksum = Base64.encode(withUnsafeBytes(of: whole.bigEndian) { Array($0) })
        if let claimed = request.header("x-amz-checksum-crc64nvme"), claimed != checksum {
            throw ProviderError(
                400, "BadDigest", "The CRC64NVME you specified did not match the calculated checksum.")
        }
        return checksum
    }

    /// The parts that the client lists, if it lists them rightly.
    private func chosen(
        _ wanted: [(number: Int, etag: String)]?,
        of all: [UploadedPart]
    ) throws(ProviderError) -> [UploadedPart] {
        guard let wanted else { return all }
        let known = Dictionary(all.map { ($0.number, $0) }, uniquingKeysWith: { $1 })
        var parts: [UploadedPart] = []
        for (number, etag) in wanted {
            if let last = parts.last, last.number >= number {
                throw ProviderError(
                    400,
                    "InvalidPartOrder",
                    "The list of parts was not in ascending order."
                )
            }
            guard let part = known[number], etag.filter({ $0 != "\"" }).lowercased() == part.etag else {
                throw ProviderError(
                    400,
                    "InvalidPart",
                    "One or more of the specified parts could not be found.",
                    details: [("PartNumber", String(number))]
                )
            }
            parts.append(part)
        }
        guard !parts.isEmpty else { throw .malformedXML }
        let least: UInt64 = request.dialect == .oss ? 100 << 10 : 5 << 20
        guard parts.dropLast().allSatisfy({ $0.sizeBytes >= least }) else {
            throw ProviderError(
                400,
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed object size."
            )
        }
        return parts
    }

    private static func joined(_ parts: [UploadedPart], _ upload: Upload) -> ObjectVersion {
        var digest = Insecure.MD5()
        for part in parts { digest.update(data: part.etagBytes) }
        var crc64: UInt64? = 0
        for part in parts {
            if let sum = crc64, let next = part.crc64 {
                crc64 = CRC64.combine(sum, next, secondBytes: part.sizeBytes)
            } else {
                crc64 = nil
            }
        }
        return ObjectVersion(
            key: upload.key,
            sizeBytes: parts.reduce(0) { $0 + $1.sizeBytes },
            etag: "\(Hex.encode(digest.finalize()))-\(parts.count)",
            modified: .now(),
            archive: ArchiveRecord(storageClass: StorageClass(upload.storageClass)),
            headers: upload.headers,
            crc64: crc64,
            content: parts.flatMap(\.content)
        )
    }

    private static func completeDocument(
        _ xml: inout XMLReader
    ) throws(XMLError) -> [(number: Int, etag: String)] {
        var parts: [(number: Int, etag: String)] = []
        while try xml.nextChild() {
            guard xml.isNamed("Part") else {
                try xml.skip()
                continue
            }
            var part = (number: 0, etag: "")
            while try xml.nextChild() {
                if xml.isNamed("PartNumber") {
                    part.number = Int(try xml.string()) ?? 0
                } else if xml.isNamed("ETag") {
                    part.etag = try xml.string()
                } else {
                    try xml.skip()
                }
            }
            parts.append(part)
        }
        return parts
    }

    func abortMultipartUpload() throws(ProviderError) -> Reply {
        let freed = try withBucket { tables, bucket throws(ProviderError) in
            let upload = try tables.upload(bucket, request.key, id: uploadID)
            let freed = try tables.release(try tables.parts(upload).flatMap(\.content))
            try tables.remove(upload)
            return freed
        }
        service.blobs.remove(freed)
        return Reply(204)
    }

    func listMultipartUploads() throws(ProviderError) -> Reply {
        let prefix = ObjectKey(request.bytes("prefix") ?? [])
        let marker = (
            key: ObjectKey(request.bytes("key-marker") ?? []), id: request.parameter("upload-id-marker") ?? ""
        )
        let max = try request.number("max-uploads", 1...1000, default: 1000)
        let uploads = try withBucket { tables, bucket throws(ProviderError) in try tables.uploads(bucket) }
            .filter { upload in
                upload.key.hasPrefix(prefix)
                    && (upload.key > marker.key
                        || upload.key == marker.key && !marker.id.isEmpty && upload.id > marker.id)
            }
        let page = uploads.prefix(max)
        let isEncoded = request.parameter("encoding-type") == "url"
        let encode = encoder(isEncoded)
        var xml = XMLWriter()
        xml.element("ListMultipartUploadsResult", namespace: namespace) { xml in
            xml.element("Bucket", request.bucketName ?? "")
            if isEncoded { xml.element("EncodingType", "url") }
            xml.element("KeyMarker", bytes: encode(marker.key.bytes))
            xml.element("UploadIdMarker", marker.id)
            xml.element("NextKeyMarker", bytes: encode(page.last?.key.bytes ?? []))
            xml.element("NextUploadIdMarker", page.last?.id ?? "")
            xml.element("Delimiter", "")
            xml.element("Prefix", bytes: encode(prefix.bytes))
            xml.element("MaxUploads", max)
            xml.element("IsTruncated", uploads.count > max)
            for upload in page {
                xml.element("Upload") { xml in
                    xml.element("Key", bytes: encode(upload.key.bytes))
                    xml.element("UploadId", upload.id)
                    if request.dialect != .oss {
                        writeOwner(&xml, as: "Initiator")
                        writeOwner(&xml)
                    }
                    xml.element("StorageClass", upload.storageClass)
                    xml.element("Initiated", wholeSeconds(upload.initiated))
                }
            }
        }
        return .xml(xml)
    }
}
