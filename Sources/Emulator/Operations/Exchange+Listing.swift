import ThawCore
import Wire

extension Exchange {
    /// What the listing's parameters have in common.
    private struct ListParameters {
        var query: ListingQuery
        var isEncoded: Bool
    }

    private func listParameters(after: ObjectKey?) throws(ProviderError) -> ListParameters {
        let encoding = request.parameter("encoding-type")
        guard encoding == nil || encoding == "url" else {
            throw .invalidArgument("Invalid Encoding Method specified in Request")
        }
        // S3 answers at most a thousand whatever is asked for; OSS refuses more.
        let most = request.dialect == .oss ? 1000 : Int(Int32.max)
        let max = try request.number("max-keys", 0...most, default: request.dialect == .oss ? 100 : 1000)
        return ListParameters(
            query: ListingQuery(
                prefix: ObjectKey(request.bytes("prefix") ?? []),
                delimiter: request.bytes("delimiter") ?? [],
                after: after,
                max: min(max, 1000)
            ),
            isEncoded: encoding == "url"
        )
    }

    private func page(_ query: ListingQuery) throws(ProviderError) -> Listing<ListedVersion> {
        let page = try withBucket { tables, bucket throws(ProviderError) in
            var cursor = VersionCursor(tables, bucket, isComplete: false)
            let page = try query.page(&cursor)
            cursor.finish()
            return page
        }
        guard effects.listingLoops else { return page }
        var looping = page
        looping.next = query.after ?? (query.prefix.isEmpty ? ObjectKey([0]) : query.prefix)
        return looping
    }

    func listObjectsV2() throws(ProviderError) -> Reply {
        let token = request.parameter("continuation-token")
        var after = request.bytes("start-after").map { ObjectKey($0) }
        if let token {
            guard let bytes = Base64.decode(token) else {
                throw .invalidArgument("The continuation token provided is incorrect")
            }
            after = ObjectKey(bytes)
        }
        let parameters = try listParameters(after: after)
        let page = try page(parameters.query)
        let encode = encoder(parameters.isEncoded)
        // OSS encodes its tokens too, S3's are left as they are.
        let encodeToken: (String) -> [UInt8] = {
            self.request.dialect == .oss ? encode(Array($0.utf8)) : Array($0.utf8)
        }
        let hasOwner = request.parameter("fetch-owner") == "true"
        var xml = XMLWriter()
        xml.element("ListBucketResult", namespace: namespace) { xml in
            xml.element("Name", request.bucketName ?? "")
            xml.element("Prefix", bytes: encode(parameters.query.prefix.bytes))
            if let start = request.bytes("start-after") { xml.element("StartAfter", bytes: encode(start)) }
            if let token { xml.element("ContinuationToken", bytes: encodeToken(token)) }
            xml.element("MaxKeys", parameters.query.max)
            if !parameters.query.delimiter.isEmpty {
                xml.element("Delimiter", bytes: encode(parameters.query.delimiter))
            }
            if parameters.isEncoded { xml.element("EncodingType", "url") }
            xml.element("IsTruncated", page.next != nil)
            if let next = page.next {
                xml.element("NextContinuationToken", bytes: encodeToken(Base64.encode(next.bytes)))
            }
            xml.element("KeyCount", page.entries.count + page.prefixes.count)
            write(page, to: &xml, encode, hasOwner: hasOwner)
        }
        return .xml(xml)
    }

    func listObjects() throws(ProviderError) -> Reply {
        let marker = request.bytes("marker")
        let parameters = try listParameters(after: marker.map { ObjectKey($0) })
        let page = try page(parameters.query)
        let encode = encoder(parameters.isEncoded)
        var xml = XMLWriter()
        xml.element("ListBucketResult", namespace: namespace) { xml in
            xml.element("Name", request.bucketName ?? "")
            xml.element("Prefix", bytes: encode(parameters.query.prefix.bytes))
            xml.element("Marker", bytes: encode(marker ?? []))
            xml.element("MaxKeys", parameters.query.max)
            xml.element("Delimiter", bytes: encode(parameters.query.delimiter))
            if parameters.isEncoded { xml.element("EncodingType", "url") }
            xml.element("IsTruncated", page.next != nil)
            // S3 names the next marker only with a delimiter; without one it is the last key.
            if let next = page.next, request.dialect == .oss || !parameters.query.delimiter.isEmpty {
                xml.element("NextMarker", bytes: encode(next.bytes))
            }
            write(page, to: &xml, encode, hasOwner: true)
        }
        return .xml(xml)
    }

    private func write(
        _ page: Listing<ListedVersion>,
        to xml: inout XMLWriter,
        _ encode: ([UInt8]) -> [UInt8],
        hasOwner: Bool
    ) {
        let now = service.now
        for entry in page.entries {
            xml.element("Contents") { xml in
                xml.element("Key", bytes: encode(entry.version.key.bytes))
                write(entry.version, to: &xml, now: now)
                if hasOwner { writeOwner(&xml) }
            }
        }
        for prefix in page.prefixes {
            xml.element("CommonPrefixes") { xml in xml.element("Prefix", bytes: encode(prefix.bytes)) }
        }
    }

    /// What listings of objects and of versions say alike of an object.
    func write(_ version: ObjectVersion, to xml: inout XMLWriter, now: Timestamp) {
        xml.element("LastModified", wholeSeconds(version.modified))
        xml.element("ETag", version.etag(request.dialect))
        if request.dialect == .oss { xml.element("Type", version.isMultipart ? "Multipart" : "Normal") }
        xml.element("Size", version.sizeBytes)
        // IBM COS lists every object with the class it was stored in, which is this one.
        if request.dialect == .cos { return xml.element("StorageClass", "STANDARD") }
        xml.element("StorageClass", version.storageClassName(request.dialect))
        guard let restore = version.archive.restoreHeader(at: now) else { return }
        if request.dialect == .oss {
            xml.element("RestoreInfo", restore.text)
        } else if request.header("x-amz-optional-object-attributes")?.contains("RestoreStatus") == true {
            xml.element("RestoreStatus") { xml in
                switch restore {
                case .ongoing:
                    xml.element("IsRestoreInProgress", true)
                case .restored(let until):
                    xml.element("IsRestoreInProgress", false)
                    if let until { xml.element("RestoreExpiryDate", wholeSeconds(until)) }
                }
            }
        }
    }

    /// How keys are written: as they are, or percent-encoded with `encoding-type=url`, where S3 leaves
    /// slashes.
    func encoder(_ isEncoded: Bool) -> ([UInt8]) -> [UInt8] {
        guard isEncoded else { return { $0 } }
        let keepsSlash = request.dialect.speaksS3
        return { Array(PercentEncoding.encode($0, keepingSlash: keepsSlash).utf8) }
    }

    // MARK: - Versions

    func listObjectVersions() throws(ProviderError) -> Reply {
        let keyMarker = request.bytes("key-marker").map { ObjectKey($0) }
        let versionMarker = request.parameter("version-id-marker")
        let parameters = try listParameters(after: keyMarker)
        var (page, next) = try versionPage(parameters.query, versionMarker)
        if effects.listingLoops { next = (keyMarker ?? ObjectKey([0]), versionMarker ?? "null") }
        let encode = encoder(parameters.isEncoded)
        let now = service.now
        var xml = XMLWriter()
        xml.element("ListVersionsResult", namespace: namespace) { xml in
            xml.element("Name", request.bucketName ?? "")
            xml.element("Prefix", bytes: encode(parameters.query.prefix.bytes))
            xml.element("KeyMarker", bytes: encode(keyMarker?.bytes ?? []))
            xml.element("VersionIdMarker", versionMarker ?? "")
            xml.element("MaxKeys", parameters.query.max)
            xml.element("Delimiter", bytes: encode(parameters.query.delimiter))
            if parameters.isEncoded { xml.element("EncodingType", "url") }
            xml.element("IsTruncated", next != nil)
            if let next {
                xml.element("NextKeyMarker", bytes: encode(next.key.bytes))
                xml.element("NextVersionIdMarker", next.version ?? "")
            }
            for entry in page.entries {
                let version = entry.version
                xml.element(version.isDeleteMarker ? "DeleteMarker" : "Version") { xml in
                    xml.element("Key", bytes: encode(version.key.bytes))
                    xml.element("VersionId", version.versionID)
                    xml.element("IsLatest", entry.isLatest)
                    if version.isDeleteMarker {
                        xml.element("LastModified", wholeSeconds(version.modified))
                    } else {
                        write(version, to: &xml, now: now)
                    }
                    writeOwner(&xml)
                }
            }
            for prefix in page.prefixes {
                xml.element("CommonPrefixes") { xml in xml.element("Prefix", bytes: encode(prefix.bytes)) }
            }
        }
        return .xml(xml)
    }

    private typealias VersionMarker = (key: ObjectKey, version: String?)

    /// One page of versions. With a version marker the page goes on inside the marker's key.
    private func versionPage(
        _ query: ListingQuery,
        _ versionMarker: String?
    ) throws(ProviderError) -> (Listing<ListedVersion>, VersionMarker?) {
        let (page, next, nextVersion) = try withBucket { tables, bucket throws(ProviderError) in
            var cursor = VersionCursor(tables, bucket, isComplete: true)
            var rest: [ListedVersion] = []
            if let key = query.after, let versionMarker,
                let seen = try tables.version(bucket, key, id: versionMarker)
            {
                try cursor.seek(key, inclusive: true)
                while let (found, entry) = try cursor.next(), found == key {
                    if entry.version.sequence < seen.sequence { rest.append(entry) }
                }
            }
            var page = Listing<ListedVersion>()
            if rest.count > query.max {
                page.next = query.after
                page.entries = Array(rest.prefix(query.max))
            } else {
                var remaining = query
                remaining.max -= rest.count
                page = try remaining.page(&cursor)
                if remaining.max == 0, !rest.isEmpty { page.next = query.after }
                page.entries = rest + page.entries
            }
            cursor.finish()
            // A page may end inside a key; one that ends with a rolled-up prefix has no version to go on
            // from.
            let last = page.entries.last { $0.version.key == page.next }
            return (page, page.next, last?.version.versionID)
        }
        return (page, next.map { ($0, nextVersion) })
    }
}
