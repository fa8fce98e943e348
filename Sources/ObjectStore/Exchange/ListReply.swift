import ThawCore
import Wire

/// The reply to ListObjectsV2. Elements may come in any order, so nothing is decoded before the last.
struct ListReply {
    private var encoding: ListEncoding
    private var isTruncated = false
    private var token: [UInt8]?
    private var objects: [ListEntry] = []
    private var prefixes: [[UInt8]] = []

    static func page(_ body: [UInt8], _ dialect: any BucketDialect) throws(ListProblem) -> ListPage {
        var reply = ListReply(encoding: ListEncoding(dialect: dialect))
        do throws(XMLError) {
            try reply.read(body)
        } catch {
            throw ListProblem(reason: error.description)
        }
        return try reply.page()
    }

    private init(encoding: ListEncoding) { self.encoding = encoding }

    private mutating func read(_ body: [UInt8]) throws(XMLError) {
        var xml = try XMLReader(body)
        guard xml.isNamed("ListBucketResult") else {
            throw XMLError(reason: "<\(xml.localName)> where a listing was expected", offset: 0)
        }
        while try xml.nextChild() {
            if xml.isNamed("Contents") {
                objects.append(try ListEntry(&xml, encoding.dialect))
            } else if xml.isNamed("CommonPrefixes") {
                while try xml.nextChild() {
                    if xml.isNamed("Prefix") { prefixes.append(try xml.text()) } else { try xml.skip() }
                }
            } else if xml.isNamed("IsTruncated") {
                isTruncated = try xml.string() == "true"
            } else if xml.isNamed("NextContinuationToken") {
                token = try xml.text()
            } else if xml.isNamed("EncodingType") {
                encoding.isURL = try xml.string() == "url"
            } else {
                try xml.skip()
            }
        }
        try xml.finish()
    }

    private func page() throws(ListProblem) -> ListPage {
        var page = ListPage(objects: [], prefixes: [], continuationToken: nil)
        page.objects.reserveCapacity(objects.count)
        for entry in objects {
            let key = try encoding.key(of: entry)
            page.objects.append(ListedObject(key: key, record: try encoding.record(of: entry, key)))
        }
        for prefix in prefixes { page.prefixes.append(ObjectKey(try encoding.decoded(prefix))) }
        if isTruncated {
            guard let token, !token.isEmpty else {
                throw ListProblem(reason: "the listing goes on but names no continuation token")
            }
            let raw = encoding.dialect.encodesTokens ? try encoding.decoded(token) : token
            page.continuationToken = String(decoding: raw, as: UTF8.self)
        }
        return page
    }
}
