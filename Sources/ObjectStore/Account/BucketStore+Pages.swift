internal import HTTP
internal import ThawCore
internal import Wire

extension BucketStore {
    /// The document of a list, with what its further pages have: each entry is as the provider wrote it, and the rest
    /// of the first page, which tells of that page alone, is left out.
    ///
    /// - Parameter next: the request for a page that goes on after these parameters
    func completed(
        _ page: [UInt8], of kind: BucketConfiguration.Kind, entry: String, next: ([QueryItem]) -> StoreRequest
    ) async throws(StoreError) -> [UInt8] {
        guard var place = try Self.continuation(of: page, kind) else { return page }
        var document = Self.head(of: page) + Self.entries(entry, of: page)
        while true {
            let page = try await exchange.send(next(place), expecting: [200]).body
            document += Self.entries(entry, of: page)
            guard let following = try Self.continuation(of: page, kind) else { break }
            guard following != place else { throw .nonsense("the list of \(kind.rawValue) loops") }
            place = following
        }
        return document + Array("</\(try Self.element(page).name)>".utf8)
    }

    /// The parameters of the next page; nil for the last.
    private static func continuation(
        of page: [UInt8], _ kind: BucketConfiguration.Kind
    ) throws(StoreError) -> [QueryItem]? {
        let list = try element(page)
        guard list["IsTruncated"]?.text == "true" else { return nil }
        let names = kind == .uploads
            ? [("key-marker", "NextKeyMarker"), ("upload-id-marker", "NextUploadIdMarker")]
            : [("continuation-token", "NextContinuationToken")]
        let items = names.compactMap { name, element in list[element].map { QueryItem(name, $0.text) } }
        guard !items.isEmpty else { throw .nonsense("the list of \(kind.rawValue) goes on, and does not say where") }
        return items
    }

    private static func element(_ page: [UInt8]) throws(StoreError) -> XMLElement {
        do throws(XMLError) { return try XMLElement(document: page) } catch { throw .nonsense(error.description) }
    }

    /// Up to the end of the root's first tag.
    private static func head(of page: [UInt8]) -> [UInt8] {
        var rest = page[...]
        while let start = rest.firstIndex(of: UInt8(ascii: "<")) {
            let end = rest[start...].firstIndex(of: UInt8(ascii: ">")) ?? page.count - 1
            // Before it there may be a declaration and comments.
            if rest[start...].dropFirst().first.map({ $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "!") }) ?? true {
                return Array(page[...end])
            }
            rest = page[(end + 1)...]
        }
        return []
    }

    private static func entries(_ name: String, of page: [UInt8]) -> ArraySlice<UInt8> {
        let first = page.firstRange(of: Array("<\(name)>".utf8))
        guard let first, let last = page.ranges(of: Array("</\(name)>".utf8)).last else { return [] }
        return page[first.lowerBound..<last.upperBound]
    }
}
