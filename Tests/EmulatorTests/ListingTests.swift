import Testing
import ThawCore

@testable import Emulator

/// Sorted keys in memory, counting how they are read.
private struct KeyList: KeyCursor {
    let keys: [ObjectKey]
    var position = 0
    var seeks = 0
    var reads = 0

    init(_ keys: [String]) { self.keys = keys.map { ObjectKey($0) }.sorted() }

    mutating func seek(_ key: ObjectKey, inclusive: Bool) {
        seeks += 1
        position = keys.firstIndex { inclusive ? $0 >= key : $0 > key } ?? keys.count
    }

    mutating func next() -> (key: ObjectKey, entry: String)? {
        guard position < keys.count else { return nil }
        reads += 1
        defer { position += 1 }
        return (keys[position], keys[position].description)
    }
}

private func query(_ prefix: String = "", delimiter: String = "", after: String? = nil, max: Int = 1000)
    -> ListingQuery
{
    ListingQuery(
        prefix: ObjectKey(prefix),
        delimiter: Array(delimiter.utf8),
        after: after.map { ObjectKey($0) },
        max: max
    )
}

/// Every page of a listing, as `entries | prefixes`.
private func pages(_ keys: [String], _ first: ListingQuery) -> [String] {
    var query = first
    var pages: [String] = []
    while true {
        var cursor = KeyList(keys)
        let page = query.page(&cursor)
        pages.append(
            page.entries.joined(separator: " ") + "|"
                + page.prefixes.map(\.description).joined(separator: " ")
        )
        guard let next = page.next, pages.count < 100 else { return pages }
        query.after = next
    }
}

@Suite struct ListingTests {
    private let tree = ["a", "b/1", "b/2", "b/c/3", "bb", "c/", "c/1", "d"]

    @Test("keys come in the order of their bytes")
    func order() { #expect(pages(["b", "a", "é", "Z", "~"], query()) == ["Z a b ~ é|"]) }

    @Test("keys below a delimiter are rolled into one prefix")
    func rollUp() {
        #expect(pages(tree, query(delimiter: "/")) == ["a bb d|b/ c/"])
        #expect(pages(tree, query("b/", delimiter: "/")) == ["b/1 b/2|b/c/"])
        #expect(pages(tree, query("c/", delimiter: "/")) == ["c/ c/1|"])
        #expect(pages(tree, query("b", delimiter: "/")) == ["bb|b/"])
        #expect(pages(tree, query("nothing", delimiter: "/")) == ["|"])
    }

    @Test("pages join to the whole, whatever their size", arguments: 1...9)
    func paging(max: Int) {
        let joined = pages(tree, query(delimiter: "/", max: max)).flatMap { page in
            page.split(separator: "|").flatMap { $0.split(separator: " ") }
        }
        #expect(joined.sorted() == ["a", "b/", "bb", "c/", "d"])
        let flat = pages(tree, query(max: max)).flatMap {
            $0.dropLast().split(separator: " ").map(String.init)
        }
        #expect(flat == tree)
    }

    @Test("a page that is full and last is not truncated")
    func exactPage() { #expect(pages(["a", "b"], query(max: 2)) == ["a b|"]) }

    @Test("a start inside a prefix still shows what is left of it")
    func startInside() {
        #expect(pages(tree, query(delimiter: "/", after: "b/1")) == ["bb d|b/ c/"])
        #expect(pages(tree, query(delimiter: "/", after: "b/")) == ["bb d|c/"])
        #expect(pages(tree, query("b/", delimiter: "/", after: "a")) == ["b/1 b/2|b/c/"])
    }

    @Test("a rolled-up prefix costs one seek, however many keys it has")
    func skipsAhead() {
        var cursor = KeyList((0..<10_000).map { "many/\($0)" } + ["z"])
        let page = query(delimiter: "/").page(&cursor)
        #expect(page.entries == ["z"])
        #expect(page.prefixes == [ObjectKey("many/")])
        #expect(cursor.seeks == 2)
        #expect(cursor.reads == 2)
    }

    @Test("a delimiter may have more than one byte")
    func longDelimiter() { #expect(pages(["a--1", "a--2", "a-b"], query(delimiter: "--")) == ["a-b|a--"]) }

    @Test("the successor of a prefix is the first key after all that have it")
    func successor() {
        #expect(ObjectKey("a/").successorOfPrefix == ObjectKey("a0"))
        #expect(ObjectKey([0x61, 0xFF]).successorOfPrefix == ObjectKey("b"))
        #expect(ObjectKey([0xFF, 0xFF]).successorOfPrefix == nil)
    }
}
