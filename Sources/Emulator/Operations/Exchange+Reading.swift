import ThawCore
import Wire

extension Exchange {
    /// GetObject, and HeadObject, which says the same without the body and of frozen objects too.
    func getObject() throws(ProviderError) -> Reply {
        let (bucket, version) = try withBucket { tables, bucket throws(ProviderError) in
            (bucket, try self.version(tables, bucket, request.key, id: request.versionID))
        }
        var headers = objectHeaders(version, bucket)
        if try isNotModified(version, prefix: "") {
            return Reply(304, headers: headers.filter { $0.name == "ETag" || $0.name == "Last-Modified" })
        }
        if operation == .getObject {
            try checkReadable(version, bucket, isCopySource: false)
            overrideHeaders(&headers)
        }
        var status = 200
        var range = 0..<version.sizeBytes
        if let wanted = try wantedRange(version.sizeBytes) {
            status = 206
            range = wanted
            headers.append(
                ("Content-Range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(version.sizeBytes)")
            )
        } else if request.header("x-amz-checksum-mode") != nil {
            for (name, value) in version.headers where name.hasPrefix("checksum-") {
                headers.append(("x-amz-" + name, value))
            }
        }
        let length = UInt64(range.count)
        return Reply(
            status,
            headers: headers,
            body: operation == .headObject ? .length(length) : .content(version.content.slice(range))
        )
    }

    /// OSS GetObjectMeta: a HEAD that says little, not even the class.
    func getObjectMeta() throws(ProviderError) -> Reply {
        let (bucket, version) = try withBucket { tables, bucket throws(ProviderError) in
            (bucket, try self.version(tables, bucket, request.key, id: request.versionID))
        }
        var headers = versionHeader(bucket, version)
        headers.append(("ETag", version.etag(request.dialect)))
        headers.append(("Last-Modified", WireDate.rfc1123(version.modified)))
        if let crc64 = version.crc64 { headers.append(("x-oss-hash-crc64ecma", String(crc64))) }
        return Reply(200, headers: headers, body: .length(version.sizeBytes))
    }

    func objectHeaders(_ version: ObjectVersion, _ bucket: Bucket) -> [(name: String, value: String)] {
        let now = service.now
        let prefix = request.vendorPrefix
        var headers = versionHeader(bucket, version)
        headers.append(("ETag", version.etag(request.dialect)))
        headers.append(("Last-Modified", WireDate.rfc1123(version.modified)))
        headers.append(("Accept-Ranges", "bytes"))
        let fallback = request.dialect == .oss ? "application/octet-stream" : "binary/octet-stream"
        headers.append(
            ("Content-Type", version.headers.first { $0.name == "content-type" }?.value ?? fallback)
        )
        for (name, value) in version.headers where name != "content-type" && !version.isInternal(name) {
            headers.append((name.hasPrefix("meta-") ? prefix + name : name, value))
        }
        let storageClass = version.storageClassName(request.dialect)
        if request.dialect == .oss || storageClass != "STANDARD" {
            headers.append((prefix + "storage-class", storageClass))
        }
        if let restore = version.archive.restoreHeader(at: now) {
            headers.append((prefix + "restore", restore.text))
        }
        if request.dialect == .oss {
            headers.append(("x-oss-object-type", version.isMultipart ? "Multipart" : "Normal"))
            if let crc64 = version.crc64 { headers.append(("x-oss-hash-crc64ecma", String(crc64))) }
        } else if request.dialect == .cos {
            headers += archiveHeaders(version, now) + (version.retention?.headers(now: now) ?? [])
        } else {
            if let status = version.archive.archiveStatus(at: now) { headers.append(("x-amz-archive-status", status)) }
            headers += version.lock?.headers ?? []
        }
        return headers
    }

    /// IBM's words beside S3's (IBM Cloud docs, "Object operations", HEAD).
    private func archiveHeaders(_ version: ObjectVersion, _ now: Timestamp) -> [(name: String, value: String)] {
        guard version.archive.storageClass.archiveRules(.cos) != nil else { return [] }
        let tier = version.archive.storageClass.name == "GLACIER" ? "ARCHIVE" : "ACCELERATED"
        let date = WireDate.rfc1123(version.modified)
        var headers = [("x-ibm-transition", "transition=\"\(tier)\", date=\"\(date)\"")]
        if version.archive.restoreHeader(at: now) != nil {
            headers.append(("x-ibm-restored-copy-storage-class", "Standard"))
        }
        return headers
    }

    /// Fails unless the content can be had now.
    func checkReadable(_ version: ObjectVersion, _ bucket: Bucket, isCopySource: Bool) throws(ProviderError) {
        switch version.archive.state(at: service.now) {
        case .online, .restored: return
        case .frozen, .restoring:
            if bucket.archiveDirectRead, version.archive.storageClass.name == "Archive" { return }
            throw .invalidObjectState(version, request.dialect, isCopySource: isCopySource)
        }
    }

    // MARK: - Conditions

    /// Checks the four conditions; true when a GET should answer 304.
    ///
    /// - Parameter prefix: empty, or `x-oss-copy-source-` and the like
    func isNotModified(_ version: ObjectVersion, prefix: String) throws(ProviderError) -> Bool {
        if let wanted = request.header(prefix + "if-match") {
            guard Self.etags(wanted, name: version) else { throw .preconditionFailed("If-Match") }
        } else if let date = request.header(prefix + "if-unmodified-since").flatMap({
            WireDate.parseRFC1123($0)
        }),
            version.modified.seconds > date.seconds
        {
            throw .preconditionFailed("If-Unmodified-Since")
        }
        if let unwanted = request.header(prefix + "if-none-match") {
            return Self.etags(unwanted, name: version)
        }
        if let date = request.header(prefix + "if-modified-since").flatMap({ WireDate.parseRFC1123($0) }) {
            return version.modified.seconds <= date.seconds
        }
        return false
    }

    static func etags(_ header: String, name version: ObjectVersion) -> Bool {
        header.split(separator: ",").contains { part in
            let etag = part.filter { $0 != "\"" && $0 != " " }.lowercased()
            return etag == "*" || etag == version.etag.lowercased()
        }
    }

    // MARK: - Ranges

    /// The bytes to answer with 206; nil for the whole object with 200.
    private func wantedRange(_ size: UInt64) throws(ProviderError) -> Range<UInt64>? {
        guard let header = request.header("range") else { return nil }
        let range = ByteRangeHeader(header)
        // Without this header OSS answers the whole object to any range that does not lie inside it.
        if request.dialect == .oss, request.header("x-oss-range-behavior") != "standard" {
            return range?.isInside(size) == true ? range?.clipped(size) : nil
        }
        guard let range else { return nil }
        guard let clipped = range.clipped(size) else {
            throw ProviderError(
                416,
                "InvalidRange",
                "The requested range is not satisfiable",
                details: [("RangeRequested", header), ("ActualObjectSize", String(size))],
                headers: [("Content-Range", "bytes */\(size)")]
            )
        }
        return clipped
    }

    private func overrideHeaders(_ headers: inout [(name: String, value: String)]) {
        let names = [
            "Content-Type", "Content-Language", "Expires", "Cache-Control", "Content-Disposition",
            "Content-Encoding",
        ]
        for name in names {
            guard let value = request.parameter("response-" + name.lowercased()) else { continue }
            headers.removeAll { $0.name.lowercased() == name.lowercased() }
            headers.append((name, value))
        }
    }
}

/// `bytes=a-b`, `bytes=a-` or `bytes=-n`.
enum ByteRangeHeader: Equatable {
    case from(UInt64, through: UInt64?)
    case last(UInt64)

    /// Nil for anything else, several ranges among it, which HTTP says to ignore.
    init?(_ header: String) {
        guard header.hasPrefix("bytes=") else { return nil }
        let ends = header.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2 else { return nil }
        switch (UInt64(ends[0]), UInt64(ends[1])) {
        case (nil, let count?) where ends[0].isEmpty: self = .last(count)
        case (let start?, nil) where ends[1].isEmpty: self = .from(start, through: nil)
        case (let start?, let end?) where start <= end: self = .from(start, through: end)
        default: return nil
        }
    }

    /// The part of it that an object of this size has; nil when there is none.
    func clipped(_ size: UInt64) -> Range<UInt64>? {
        switch self {
        case .from(let start, let end):
            guard start < size else { return nil }
            return start..<min(end ?? .max, size - 1) + 1
        case .last(let count):
            guard count > 0, size > 0 else { return nil }
            return (size - min(count, size))..<size
        }
    }

    func isInside(_ size: UInt64) -> Bool {
        switch self {
        case .from(let start, let end): (end ?? start) < size
        case .last(let count): count > 0 && count <= size
        }
    }
}
