import ThawCore
import Wire

extension Exchange {
    /// What can be checked of an upload before its body is taken in.
    func checkUpload() throws(ProviderError) {
        guard request.key.bytes.count <= 1024 else {
            throw ProviderError(400, "KeyTooLongError", "Your key is too long.")
        }
        if request.dialect == .oss, let first = request.key.bytes.first,
            first == UInt8(ascii: "/") || first == UInt8(ascii: "\\")
        {
            throw ProviderError(400, "InvalidObjectName", "The specified object is not valid.")
        }
        if request.dialect == .cos, request.header("x-amz-storage-class") != nil {
            throw ProviderError(501, "NotImplemented", "A header you provided implies functionality that is not implemented.")
        }
        try withBucket { tables, bucket throws(ProviderError) in
            if operation == .uploadPart {
                _ = try tables.upload(bucket, request.key, id: request.parameter("uploadId") ?? "")
            } else {
                try checkOverwrite(tables, bucket)
            }
        }
    }

    /// The conditions under which an object may be written.
    func checkOverwrite(_ tables: CatalogTables, _ bucket: Bucket) throws(ProviderError) {
        let current = try tables.current(bucket, request.key).flatMap { $0.isDeleteMarker ? nil : $0 }
        if bucket.versioning != .enabled { try current?.requireUnprotected(at: service.now) }
        if request.header("x-oss-forbid-overwrite") == "true", current != nil {
            throw ProviderError(
                409,
                "FileAlreadyExists",
                "The object you specified already exists and can not be overwritten.",
                ec: "0026-00000013"
            )
        }
        if let unwanted = request.header("if-none-match"), let current, Self.etags(unwanted, name: current) {
            throw .preconditionFailed("If-None-Match")
        }
        if let wanted = request.header("if-match") {
            guard let current else { throw .noSuchKey }
            guard Self.etags(wanted, name: current) else { throw .preconditionFailed("If-Match") }
        }
    }

    func putObject(_ body: ReceivedBody) throws(ProviderError) -> Reply {
        var version = ObjectVersion(
            key: request.key,
            sizeBytes: body.sizeBytes,
            etag: Hex.encode(body.md5),
            modified: .now(),
            headers: sentHeaders() + body.checksums,
            crc64: body.crc64,
            content: body.content
        )
        version.retention = try sentRetention()
        let (bucket, stored) = try put(&version)
        var headers = versionHeader(bucket, stored)
        headers.append(("ETag", stored.etag(request.dialect)))
        if request.dialect == .oss {
            headers.append(("x-oss-hash-crc64ecma", String(body.crc64)))
            headers.append(("Content-MD5", Base64.encode(body.md5)))
        } else {
            for (name, value) in body.checksums { headers.append(("x-amz-" + name, value)) }
        }
        return Reply(200, headers: headers)
    }

    /// Stores a new version of the request's key, under its conditions and with its storage class.
    func put(_ version: inout ObjectVersion) throws(ProviderError) -> (Bucket, ObjectVersion) {
        let draft = version
        let (bucket, stored, freed) = try withBucket { tables, bucket throws(ProviderError) in
            try checkOverwrite(tables, bucket)
            var version = draft
            version.archive = ArchiveRecord(storageClass: storageClass(bucket))
            try tables.retain(version.content)
            let freed = try tables.store(&version, in: bucket)
            return (bucket, version, freed)
        }
        service.blobs.remove(freed)
        version = stored
        return (bucket, stored)
    }

    func storageClass(_ bucket: Bucket) -> StorageClass {
        StorageClass(
            request.vendorHeader("storage-class")
                ?? (request.dialect == .oss ? bucket.storageClass : "STANDARD")
        )
    }

    /// The headers that an object keeps.
    func sentHeaders() -> [(name: String, value: String)] {
        let kept: Set<String> = [
            "content-type", "cache-control", "content-disposition", "content-encoding", "content-language",
            "expires",
        ]
        let metadata = request.vendorPrefix + "meta-"
        return request.headers.compactMap { name, value in
            if name.hasPrefix(metadata) { return (String(name.dropFirst(request.vendorPrefix.count)), value) }
            guard kept.contains(name) else { return nil }
            guard name == "content-encoding" else { return (name, value) }
            // How the body travelled is nothing to remember.
            let codings = value.split(separator: ",").map { $0.filter { $0 != " " } }.filter {
                $0 != "aws-chunked"
            }
            return codings.isEmpty ? nil : (name, codings.joined(separator: ","))
        }
    }

    // MARK: - Copying

    /// The object that `x-…-copy-source` names, readable and under the request's conditions.
    func copySource() throws(ProviderError) -> (Bucket, ObjectVersion) {
        let header = request.vendorHeader("copy-source") ?? ""
        let parts = header.split(separator: "?", maxSplits: 1)
        guard let path = parts.first.flatMap({ PercentEncoding.decode($0.utf8) }),
            let query = [QueryItem](wire: parts.count > 1 ? parts[1] : "")
        else { throw .invalidArgument("The copy source is not valid.") }
        let names = path.first == UInt8(ascii: "/") ? path.dropFirst() : path[...]
        let bucketName = String(decoding: names.prefix { $0 != UInt8(ascii: "/") }, as: UTF8.self)
        let key = ObjectKey(names.dropFirst(bucketName.utf8.count + 1))
        let id = query["versionId"].map(\.text)
        let (bucket, version) = try service.catalog.perform { tables throws(ProviderError) in
            let bucket = try tables.bucket(bucketName)
            return (bucket, try self.version(tables, bucket, key, id: id))
        }
        if try isNotModified(version, prefix: request.vendorPrefix + "copy-source-") {
            throw .preconditionFailed("copy-source-If-None-Match")
        }
        try checkReadable(version, bucket, isCopySource: true)
        return (bucket, version)
    }

    func copyObject() throws(ProviderError) -> Reply {
        let (sourceBucket, source) = try copySource()
        let replaces = request.vendorHeader("metadata-directive") == "REPLACE"
        let isSelf = sourceBucket.name == request.bucketName && source.key == request.key
        if isSelf, request.dialect.speaksS3, !replaces, request.vendorHeader("storage-class") == nil {
            throw ProviderError(
                400,
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself without "
                    + "changing the object's metadata, storage class, website redirect location or encryption attributes."
            )
        }
        var version = source
        version.key = request.key
        version.modified = .now()
        // S3 makes one part of many, so that the ETag is the content's MD5. Its bytes are not read here.
        if request.dialect.speaksS3, source.isMultipart {
            version.etag = Hex.encode(Digest.md5(Array(source.content.text.utf8)))
        }
        if replaces {
            version.headers = sentHeaders() + source.headers.filter { $0.name.hasPrefix("checksum-") }
        }
        version.retention = try sentRetention()
        let (bucket, stored) = try put(&version)
        var headers = versionHeader(bucket, stored)
        if sourceBucket.versioning != .never {
            headers.append((request.vendorPrefix + "copy-source-version-id", source.versionID))
        }
        if request.dialect == .oss, let crc64 = stored.crc64 {
            headers.append(("x-oss-hash-crc64ecma", String(crc64)))
        }
        var xml = XMLWriter()
        xml.element("CopyObjectResult", namespace: namespace) { xml in
            xml.element("ETag", stored.etag(request.dialect))
            xml.element("LastModified", wholeSeconds(stored.modified))
        }
        return .xml(xml, headers: headers)
    }

    // MARK: - Deleting

    /// What became of one deletion.
    private struct Deletion: Sendable {
        var versionID: String?
        var isMarker = false
        var freed: [Int64] = []
    }

    private func delete(
        _ tables: CatalogTables,
        _ bucket: Bucket,
        _ key: ObjectKey,
        id: String?
    ) throws(ProviderError) -> Deletion {
        if let id {
            guard let version = try tables.version(bucket, key, id: id) else {
                return Deletion(versionID: id)
            }
            try version.requireUnprotected(at: service.now)
            if version.lock?.forbidsDeletion(at: service.now, bypassing: bypassesGovernance) ?? false {
                throw .accessDenied
            }
            let freed = try tables.remove(version, from: bucket)
            return Deletion(versionID: id, isMarker: version.isDeleteMarker, freed: freed)
        }
        guard bucket.versioning != .never else {
            guard let current = try tables.current(bucket, key) else { return Deletion() }
            try current.requireUnprotected(at: service.now)
            return Deletion(freed: try tables.remove(current, from: bucket))
        }
        var marker = ObjectVersion(key: key, isDeleteMarker: true, modified: .now())
        let freed = try tables.store(&marker, in: bucket)
        return Deletion(versionID: marker.versionID, isMarker: true, freed: freed)
    }

    func deleteObject() throws(ProviderError) -> Reply {
        let deletion = try withBucket { tables, bucket throws(ProviderError) in
            if let wanted = request.header("if-match") {
                let current = try version(tables, bucket, request.key, id: request.versionID)
                guard Self.etags(wanted, name: current) else { throw .preconditionFailed("If-Match") }
            }
            return try delete(tables, bucket, request.key, id: request.versionID)
        }
        service.blobs.remove(deletion.freed)
        var headers: [(name: String, value: String)] = []
        if deletion.isMarker { headers.append((request.vendorPrefix + "delete-marker", "true")) }
        if let id = deletion.versionID { headers.append((request.vendorPrefix + "version-id", id)) }
        return Reply(204, headers: headers)
    }

    func deleteObjects(_ body: [UInt8]) throws(ProviderError) -> Reply {
        try requireIntegrityHeader()
        let (wanted, isQuiet) = try readDocument(body, Self.deleteDocument)
        guard (1...1000).contains(wanted.count) else { throw .malformedXML }
        let deletions = try withBucket { tables, bucket throws(ProviderError) in
            var deletions: [Result<Deletion, ProviderError>] = []
            for (key, id) in wanted {
                do throws(ProviderError) {
                    deletions.append(.success(try delete(tables, bucket, key, id: id)))
                } catch {
                    guard error.status == 403 else { throw error }
                    deletions.append(.failure(error))
                }
            }
            return deletions
        }
        service.blobs.remove(deletions.flatMap { (try? $0.get().freed) ?? [] })
        if isQuiet && request.dialect == .oss { return Reply(200) }
        let isEncoded = request.parameter("encoding-type") == "url"
        let encode = encoder(isEncoded)
        var xml = XMLWriter()
        xml.element("DeleteResult", namespace: namespace) { xml in
            if isEncoded { xml.element("EncodingType", "url") }
            for ((key, id), result) in zip(wanted, deletions) {
                switch result {
                case .success(let deletion) where !isQuiet:
                    xml.element("Deleted") { xml in
                        xml.element("Key", bytes: encode(key.bytes))
                        if let id { xml.element("VersionId", id) }
                        if deletion.isMarker {
                            xml.element("DeleteMarker", true)
                            xml.element("DeleteMarkerVersionId", deletion.versionID ?? "")
                        }
                    }
                case .success: break
                case .failure(let error):
                    xml.element("Error") { xml in
                        xml.element("Key", bytes: encode(key.bytes))
                        if let id { xml.element("VersionId", id) }
                        xml.element("Code", error.code)
                        xml.element("Message", error.message)
                    }
                }
            }
        }
        return .xml(xml)
    }

    func requireIntegrityHeader() throws(ProviderError) {
        guard
            request.header("content-md5") != nil
                || request.headers.contains(where: { $0.name.hasPrefix("x-amz-checksum-") })
        else {
            throw ProviderError(
                400,
                "InvalidRequest",
                "Missing required header for this request: Content-MD5"
            )
        }
    }

    private typealias Wanted = (key: ObjectKey, version: String?)

    private static func deleteDocument(_ xml: inout XMLReader) throws(XMLError) -> ([Wanted], isQuiet: Bool) {
        var wanted: [Wanted] = []
        var isQuiet = false
        while try xml.nextChild() {
            if xml.isNamed("Quiet") {
                isQuiet = try xml.string() == "true"
            } else if xml.isNamed("Object") {
                var key = ObjectKey.empty
                var version: String?
                while try xml.nextChild() {
                    if xml.isNamed("Key") {
                        key = ObjectKey(try xml.text())
                    } else if xml.isNamed("VersionId") {
                        let id = try xml.string()
                        version = id.isEmpty ? nil : id
                    } else {
                        try xml.skip()
                    }
                }
                wanted.append((key, version))
            } else {
                try xml.skip()
            }
        }
        return (wanted, isQuiet)
    }
}
