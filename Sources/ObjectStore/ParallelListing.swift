package import ThawCore

/// A listing of which several pages are on their way at once, told in order all the same.
///
/// A page's token is in the page before it, so that a million names take a thousand round trips one after the other.
/// Here the next pages are asked for at the places where they should begin (`KeyStride`), beside the one that is known
/// to begin where the last ended. What a guess tells twice is dropped; what lies between two is asked for. Guesses
/// that do not pay are given up.
package struct ParallelListing: Sendable {
    package struct Page: Sendable {
        package var page: ListPage
        /// What it says was true then.
        package var askedAt: Timestamp
        package var isLast: Bool { page.continuationToken == nil }
    }

    private struct Guess {
        /// It tells of what comes after this key.
        let start: ObjectKey
        let askedAt: Timestamp
        let page: Task<Result<ListPage, StoreError>, Never>
    }

    /// Pages on their way at once, at the most: the store's other users wait for it, too.
    private static let widthMax = 4
    /// Nothing is guessed of a directory that has no more pages than this.
    private static let pagesAlone = 4
    private static let missesMax = 3

    private let store: any ObjectStore
    private let request: ListRequest
    private var listing: Listing
    private var guesses: [Guess] = []
    private var stride: KeyStride?
    /// The names of the last page, until a stride is made of them.
    private var names: [ArraySlice<UInt8>] = []
    private var width = 1
    private var hits = 0
    private var misses = 0
    private var pages = 0

    package init(_ store: any ObjectStore, _ request: ListRequest) {
        self.store = store
        self.request = request
        listing = Listing(store, request)
    }

    /// The next page, or nil after the last. So many pages after it are as good as wanted.
    package mutating func next(ahead: Int) async throws(StoreError) -> Page? {
        if listing.isFinished { return nil }
        while let last = listing.last, let guess = guesses.first, guess.start <= last {
            guesses.removeFirst()
            foretell(ahead, after: guess.start)
            // What went wrong goes wrong again, or it does not matter.
            guard case .success(let found) = await guess.page.value else {
                judge(isGood: false)
                continue
            }
            let rest = found.after(last)
            judge(isGood: rest.count * 4 >= found.count * 3)
            if rest.count == 0, rest.continuationToken != nil { continue }
            try listing.adopt(rest)
            take(rest)
            return Page(page: rest, askedAt: guess.askedAt)
        }
        if !guesses.isEmpty { judge(isGood: false) }
        let asked = Timestamp.now()
        if let last = listing.last { foretell(ahead, after: last) }
        guard let page = try await listing.next() else { return nil }
        take(page)
        return Page(page: page, askedAt: asked)
    }

    private mutating func take(_ page: ListPage) {
        pages += 1
        if stride == nil, misses < Self.missesMax, page.continuationToken != nil {
            names = page.names(below: request.prefix)
        }
    }

    /// Asks for pages that should come after those that are on their way, and after the one that begins at `start`.
    private mutating func foretell(_ ahead: Int, after start: ObjectKey) {
        guard misses < Self.missesMax, pages >= Self.pagesAlone else { return }
        if stride == nil, !names.isEmpty {
            stride = KeyStride(names)
            if stride == nil { misses = Self.missesMax }
            names = []
        }
        guard let stride else { return }
        var furthest = guesses.last?.start ?? start
        while guesses.count < min(width, ahead) {
            guard let end = stride.end(after: furthest.bytes[request.prefix.bytes.count...]) else { return }
            furthest = request.prefix + end
            guesses.append(guess(furthest))
        }
    }

    private func guess(_ start: ObjectKey) -> Guess {
        var request = request
        (request.startAfter, request.continuationToken) = (start, nil)
        let page = Task { [store, request] () -> Result<ListPage, StoreError> in
            do throws(StoreError) { return .success(try await store.list(request)) } catch { return .failure(error) }
        }
        return Guess(start: start, askedAt: .now(), page: page)
    }

    private mutating func judge(isGood: Bool) {
        if isGood {
            width = min(width + 1, Self.widthMax)
            hits += 1
            if hits % 4 == 0 { misses = max(misses - 1, 0) }
            return
        }
        width = max(width / 2, 1)
        misses += 1
        // The keys are others now.
        stride = nil
    }
}

extension ListPage {
    var count: Int { objects.count + prefixes.count }

    /// What of it comes after that key.
    func after(_ key: ObjectKey) -> ListPage {
        ListPage(
            objects: Array(objects.drop { $0.key <= key }), prefixes: Array(prefixes.drop { $0 <= key }),
            continuationToken: continuationToken)
    }

    /// The names of what it lists, in order, without the slash that ends a directory's.
    func names(below prefix: ObjectKey) -> [ArraySlice<UInt8>] {
        var keys = objects.map(\.key)
        if !prefixes.isEmpty {
            keys += prefixes
            keys.sort()
        }
        return keys.lazy.filter { $0 != prefix }.map { key in
            let name = key.bytes.dropFirst(prefix.bytes.count)
            return name.last == UInt8(ascii: "/") ? name.dropLast() : name
        }
    }
}
