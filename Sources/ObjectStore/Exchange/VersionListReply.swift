import ThawCore
import Wire

/// The reply to ListObjectVersions. Keys are encoded as in other listings, version ids never are (what the SDKs of
/// both vendors decode).
struct VersionListReply {
    private var encoding: ListEncoding
    private var isTruncated = false
    private var nextKey: [UInt8]?
    private var nextVersion: String?
    private var entries: [(entry: ListEntry, isDeleteMarker: Bool)] = []
    private var prefixes: [[UInt8]] = []

    static func page(_ body: [UInt8], _ dialect: any BucketDialect) throws(ListProblem) -> VersionPage {
        var reply = VersionListReply(encoding: ListEncoding(dialect: dialect))
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
        guard xml.isNamed("ListVersionsResult") else {
            throw XMLError(reason: "<\(xml.localName)> where a listing of versions was expected", offset: 0)
        }
        while try xml.nextChild() {
            if xml.isNamed("Version") {
                entries.append((try ListEntry(&xml, encoding.dialect), false))
            } else if xml.isNamed("DeleteMarker") {
                entries.append((try ListEntry(&xml, encoding.dialect), true))
            } else if xml.isNamed("CommonPrefixes") {
                while try xml.nextChild() {
                    if xml.isNamed("Prefix") { prefixes.append(try xml.text()) } else { try xml.skip() }
                }
            } else if xml.isNamed("IsTruncated") {
                isTruncated = try xml.string() == "true"
            } else if xml.isNamed("NextKeyMarker") {
                nextKey = try xml.text()
            } else if xml.isNamed("NextVersionIdMarker") {
                nextVersion = try xml.string()
            } else if xml.isNamed("EncodingType") {
                encoding.isURL = try xml.string() == "url"
            } else {
                try xml.skip()
            }
        }
        try xml.finish()
    }

    private func page() throws(ListProblem) -> VersionPage {
        var page = VersionPage(versions: [], prefixes: [], next: nil)
        page.versions.reserveCapacity(entries.count)
        for (entry, isDeleteMarker) in entries {
            let key = try encoding.key(of: entry)
            guard let versionID = entry.versionID, !versionID.isEmpty else {
                throw ListProblem(reason: "a version of \(key) without an id")
            }
            page.versions.append(
                ListedVersion(
                    key: key,
                    versionID: versionID,
                    isLatest: entry.isLatest,
                    record: isDeleteMarker ? nil : try encoding.record(of: entry, key)
                ))
        }
        for prefix in prefixes { page.prefixes.append(ObjectKey(try encoding.decoded(prefix))) }
        if isTruncated {
            guard let nextKey, !nextKey.isEmpty else {
                throw ListProblem(reason: "the listing goes on but names no key to go on after")
            }
            let version = nextVersion.flatMap { $0.isEmpty ? nil : $0 }
            page.next = VersionMarker(key: ObjectKey(try encoding.decoded(nextKey)), versionID: version)
        }
        return page
    }
}
