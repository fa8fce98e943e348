import Testing
import ThawCore
import ThawTesting
import Wire

@testable import ObjectStore

@Suite("several pages of a listing at once")
struct ParallelListingTests {
    private static let page = 8

    private static func padded(_ number: Int, _ digits: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(digits - text.count, 0)) + text
    }

    private enum Names: String, CaseIterable, Sendable {
        case counted, steps, suffixed, unpadded, digests, words, directories, clustered

        func keys(_ count: Int) -> [String] {
            var random = SeededGenerator(seed: 7)
            func digest() -> String { String(UInt64.random(in: .min ... .max, using: &random), radix: 16) }
            return switch self {
            case .counted: (0..<count).map { padded($0, 8) }
            case .steps: (0..<count).map { padded($0 * 7, 8) }
            case .suffixed: (0..<count).map { "IMG_\(padded($0, 5)).jpeg" }
            case .unpadded: (0..<count).map { "\($0)" }
            case .digests: (0..<count).map { _ in digest() }
            case .words: (0..<count).map { "\(["anna", "bert", "ö", "a b", "Z"].randomElement(using: &random)!) \($0)" }
            case .directories: (0..<count).map { $0 % 2 == 0 ? "\(padded($0, 6))/x" : padded($0, 6) }
            case .clustered: (0..<count).map { padded($0 < count / 2 ? $0 : $0 * 1000, 9) }
            }
        }
    }

    private func names(_ page: ListPage) -> [ObjectKey] { (page.objects.map(\.key) + page.prefixes).sorted() }

    @Test("whatever the names, all are told once and in order", arguments: Names.allCases, [0, 1, 3, 9])
    private func order(names: Names, ahead: Int) async throws {
        let store = FakeStore(.s3)
        let keys = names.keys(400)
        for key in keys { store.put("d/\(key)") }
        // Not below it.
        for key in ["c", "d", "d.", "d0", "e/1"] { store.put(key) }
        store.paginate(by: Self.page)
        var listing = ParallelListing(store, ListRequest(prefix: ObjectKey("d/")))
        var told: [ObjectKey] = []
        var isComplete = false
        while let page = try await listing.next(ahead: ahead) {
            #expect(!isComplete)
            isComplete = page.isLast
            told += self.names(page.page)
        }
        #expect(isComplete)
        let expected = Set(keys.map { key in
            ObjectKey("d/" + key.prefix { $0 != "/" } + (key.contains("/") ? "/" : ""))
        }).sorted()
        #expect(told == expected)
        // A guess that does not pay is given up soon.
        let pages = expected.count / Self.page + 1
        #expect(store.lists.count <= pages + (ahead == 0 ? 0 : pages / 5 + 10))
    }

    @Test("the pages of counted names are foretold exactly, and none is asked for twice", arguments: ["", ".tar.gz"])
    func exactly(tail: String) async throws {
        let store = FakeStore(.s3)
        for number in 0..<400 { store.put("d/file-\(Self.padded(number, 5))\(tail)") }
        store.paginate(by: Self.page)
        var listing = ParallelListing(store, ListRequest(prefix: ObjectKey("d/")))
        var sizes: [Int] = []
        while let page = try await listing.next(ahead: 4) { sizes.append(page.page.objects.count) }
        #expect(sizes.filter { $0 > 0 } == Array(repeating: Self.page, count: 50))
        #expect(Set(store.lists.compactMap(\.startAfter)).count == store.lists.count { $0.startAfter != nil })
        // Past the end there may be some.
        #expect(store.lists.count <= 54)
        #expect(store.lists.count { $0.startAfter != nil } >= 40)
    }

    @Test("nothing is asked for that nobody wants, nor of a directory of a few pages")
    func modesty() async throws {
        let store = FakeStore(.s3)
        for number in 0..<400 { store.put("d/\(Self.padded(number, 5))") }
        store.paginate(by: 100)
        var short = ParallelListing(store, ListRequest(prefix: ObjectKey("d/")))
        while try await short.next(ahead: 4) != nil {}
        #expect(store.lists.count == 4)
        store.paginate(by: 10)
        store.forgetCalls()
        var long = ParallelListing(store, ListRequest(prefix: ObjectKey("d/")))
        for ahead in [7, 6, 5, 4, 3, 2, 1, 0] { _ = try await long.next(ahead: ahead) }
        #expect(store.lists.count == 8)
    }

    @Test("a guess that fails is asked for again, and its error told only if it comes again")
    func failing() async throws {
        let store = FakeStore(.s3)
        for number in 0..<400 { store.put("d/\(Self.padded(number, 5))") }
        store.paginate(by: 10)
        store.script { call throws(StoreError) in
            guard case .list(let request) = call, request.startAfter.map({ $0 > ObjectKey("d/00100") }) ?? false
            else { return }
            throw StoreError(.throttled, status: 503, code: "SlowDown", message: "")
        }
        var listing = ParallelListing(store, ListRequest(prefix: ObjectKey("d/")))
        var count = 0
        while let page = try await listing.next(ahead: 4) { count += page.page.objects.count }
        #expect(count == 400)
        #expect(store.lists.count < 50)
        store.script { call throws(StoreError) in
            guard case .list(let request) = call, let token = request.continuationToken, token > "64" else { return }
            throw StoreError(.denied, status: 403, code: "AccessDenied", message: "")
        }
        var denied = ParallelListing(store, ListRequest(prefix: ObjectKey("d/")))
        await #expect(throws: StoreError.self) { while try await denied.next(ahead: 4) != nil {} }
    }
}
