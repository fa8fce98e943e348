import Testing

@testable import Filesystem

@Suite("which small files to fetch ahead")
struct NeighboursTests {
    private func name(_ number: Int) -> [UInt8] { Array("f\(100_000 + number)".utf8) }

    /// Reads files by number; answers the wishes, each granted as if every file after it were small.
    private func read(_ numbers: some Sequence<Int>, _ neighbours: inout Neighbours) -> [Neighbours.Wish] {
        numbers.compactMap { number in
            guard let wish = neighbours.note(name(number)) else { return nil }
            let reached = Int(String(decoding: wish.reached.dropFirst(), as: UTF8.self)).map { $0 - 100_000 } ?? 0
            let granted = (1...wish.count).map { name(reached + $0) }
            neighbours.granted(granted, through: granted.last)
            return wish
        }
    }

    @Test("the third file in a row begins it, and whoever goes on gets more and more at once")
    func grows() {
        var neighbours = Neighbours()
        let wishes = read(0..<200, &neighbours)
        #expect(wishes.first == .init(previous: name(1), reached: name(2), count: 4))
        #expect(wishes.last?.count ?? 0 >= 16)
        // Few wishes for many files.
        #expect(wishes.count < 20)
    }

    @Test("each file after the beginning is fetched ahead exactly once")
    func complete() {
        var neighbours = Neighbours()
        var fetched: [[UInt8]] = []
        for number in 0..<500 {
            guard let wish = neighbours.note(name(number)) else { continue }
            let reached = Int(String(decoding: wish.reached.dropFirst(), as: UTF8.self)).map { $0 - 100_000 } ?? 0
            let granted = (1...wish.count).map { name(reached + $0) }
            fetched += granted
            neighbours.granted(granted, through: granted.last)
        }
        #expect(Set(fetched).count == fetched.count)
        #expect(Set((3..<500).map(name)).isSubset(of: Set(fetched)))
    }

    @Test("readers beside each other, a little out of order, are followed too")
    func parallel() {
        var neighbours = Neighbours()
        let order = stride(from: 0, to: 400, by: 4).flatMap { [$0 + 1, $0, $0 + 3, $0 + 2] }
        let wishes = read([0, 1, 2] + order.dropFirst(4), &neighbours)
        #expect(wishes.last?.count ?? 0 >= 16)
    }

    @Test("files read here and there, or backwards, fetch nothing")
    func elsewhere() {
        var neighbours = Neighbours()
        #expect(read((0..<100).reversed(), &neighbours).isEmpty)
        #expect(read([50, 3, 77, 12, 80, 5, 9, 2, 60, 1], &neighbours).isEmpty)
    }

    @Test("a wrong guess costs a few files, and the next is harder to come by")
    func punished() {
        var neighbours = Neighbours()
        // Every hundredth file: in order, but never a neighbour.
        let wishes = read((0..<300).map { $0 * 100 }, &neighbours)
        #expect(wishes.count <= 5)
        #expect(wishes.allSatisfy { $0.count == 4 })
    }

    @Test("where the rows show no neighbours, nothing is fetched, and it goes on looking")
    func refused() {
        var neighbours = Neighbours()
        var asked = 0
        for number in 0..<10 {
            guard neighbours.note(name(number * 100)) != nil else { continue }
            asked += 1
            neighbours.granted([], through: nil)
        }
        #expect(asked > 0)
    }
}
