import ThawCore
import Wire

/// The reply to ListObjectsV2. Elements may come in any order, so nothing is decoded before the last.
struct ListReply {
    private let dialect: any BucketDialect
    private var isTruncated = false
    private var isEncoded = false
    private var token: [UInt8]?
    private var objects: [Entry] = []
    private var prefixes: [[UInt8]] = []

    private struct Entry {
        var key: [UInt8]?
        var sizeBytes: UInt64?
        var modified: Timestamp?
        var etag: String?
        var storageClass: StorageClass?
        var restore: RestoreHeader?
    }

    /// Why the document is not a page of a listing.
    struct Problem: Error, Equatable { let reason: String }

    static func page(_ body: [UInt8], _ dialect: any BucketDialect) throws(Problem) -> ListPage {
        var reply = ListReply(dialect: dialect)
        do throws(XMLError) {
            try reply.read(body)
        } catch {
            throw Problem(reason: error.description)
        }
        return try reply.page()
    }

    private init(dialect: any BucketDialect) { self.dialect = dialect }

    // MARK: - Reading

    private mutating func read(_ body: [UInt8]) throws(XMLError) {
        var xml = try XMLReader(body)
        guard xml.isNamed("ListBucketResult") else {
            throw XMLError(reason: "<\(xml.localName)> where a listing was expected", offset: 0)
        }
        while try xml.nextChild() {
            if xml.isNamed("Contents") {
                objects.append(try entry(&xml))
            } else if xml.isNamed("CommonPrefixes") {
                while try xml.nextChild() {
                    if xml.isNamed("Prefix") { prefixes.append(try xml.text()) } else { try xml.skip() }
                }
            } else if xml.isNamed("IsTruncated") {
                isTruncated = try xml.string() == "true"
            } else if xml.isNamed("NextContinuationToken") {
                token = try xml.text()
            } else if xml.isNamed("EncodingType") {
                isEncoded = try xml.string() == "url"
            } else {
                try xml.skip()
            }
        }
        try xml.finish()
    }

    private func entry(_ xml: inout XMLReader) throws(XMLError) -> Entry {
        var entry = Entry()
        while try xml.nextChild() {
            if xml.isNamed("Key") {
                entry.key = try xml.text()
            } else if xml.isNamed("Size") {
                entry.sizeBytes = fileOffset(try xml.string())
            } else if xml.isNamed("LastModified") {
                entry.modified = WireDate.parseISO8601(try xml.string())
            } else if xml.isNamed("ETag") {
                entry.etag = try xml.string()
            } else if xml.isNamed("StorageClass") {
                entry.storageClass = StorageClass(try xml.string())
            } else if try !dialect.readRestoreState(&xml, into: &entry.restore) {
                try xml.skip()
            }
        }
        return entry
    }

    // MARK: - Decoding

    private func page() throws(Problem) -> ListPage {
        var page = ListPage(objects: [], prefixes: [], continuationToken: nil)
        page.objects.reserveCapacity(objects.count)
        for entry in objects { page.objects.append(try object(entry)) }
        for prefix in prefixes { page.prefixes.append(ObjectKey(try decoded(prefix))) }
        if isTruncated {
            guard let token, !token.isEmpty else {
                throw Problem(reason: "the listing goes on but names no continuation token")
            }
            let raw = dialect.encodesTokens ? try decoded(token) : token
            page.continuationToken = String(decoding: raw, as: UTF8.self)
        }
        return page
    }

    private func object(_ entry: Entry) throws(Problem) -> ListedObject {
        guard let encoded = entry.key else { throw Problem(reason: "an object without a key") }
        let key = ObjectKey(try decoded(encoded))
        guard let sizeBytes = entry.sizeBytes, let modified = entry.modified, let etag = entry.etag else {
            throw Problem(reason: "\(key) is listed without a size, a date or an entity tag that can be read")
        }
        return ListedObject(
            key: key,
            record: ObjectRecord(
                sizeBytes: sizeBytes,
                modified: modified,
                etag: etag,
                storageClass: entry.storageClass ?? dialect.defaultClass,
                restore: entry.restore
            )
        )
    }

    private func decoded(_ text: [UInt8]) throws(Problem) -> [UInt8] {
        guard isEncoded else { return text }
        guard let bytes = PercentEncoding.decode(text, plusAsBlank: dialect.encodesBlankAsPlus) else {
            throw Problem(reason: "malformed percent-encoding in \(ObjectKey(text))")
        }
        return bytes
    }
}
