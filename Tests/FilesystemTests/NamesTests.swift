import Metadata
import ObjectStore
import Testing
import ThawCore
import ThawTesting
import Wire

@testable import Filesystem

@Suite("names of keys")
struct NamesTests {
    private let awkward = [
        "", ".", "..", "...", "%", "%~", "%=", "%#", "%~a", "%=a", "%25", "%~%25", "%~%~", "a%~", "a\0b", "\0", "%~\0", "%#0",
        "%~%#0", "-", "~", " ", "\n", "é", "e\u{301}", ".versions", "%~.versions", ".versionss",
    ]

    @Test("every awkward segment has a name that a path can have, and reads back as itself")
    func reversible() {
        for text in awkward {
            let segment = Array(text.utf8)
            let name = Names.name(of: segment, isShadowed: false)
            #expect(isFileName(name), "\(text.debugDescription)")
            #expect(Names.query(name) == .segment(segment), "\(text.debugDescription)")
            let shadowed = Names.name(of: segment, isShadowed: true)
            #expect(isFileName(shadowed), "\(text.debugDescription)")
            #expect(Names.query(shadowed) == .shadowed(segment), "\(text.debugDescription)")
        }
    }

    @Test("ordinary segments are their own names")
    func plain() {
        for text in ["a", "...", "a%b", "a%~", "%", "%25", ".hidden", "日本", "a b", "%~"] where text != "%~" {
            #expect(Names.name(of: Array(text.utf8), isShadowed: false) == Array(text.utf8))
        }
    }

    @Test("every byte value is kept, alone and among others")
    func bytes() {
        for byte in UInt8.min...UInt8.max where byte != UInt8(ascii: "/") {
            for segment in [[byte], [byte, byte], [0x25, 0x7E, byte], [0x2E, byte], [byte, 0x00]] {
                for isShadowed in [false, true] {
                    let name = Names.name(of: segment, isShadowed: isShadowed)
                    #expect(isFileName(name))
                    #expect(Names.query(name) == (isShadowed ? .shadowed(segment) : .segment(segment)))
                }
            }
        }
    }

    @Test("segments around the longest name fit, and the long ones are told by their beginning and a hash")
    func lengths() {
        for count in 250...300 {
            for segment in [
                [UInt8](repeating: 0x61, count: count), [UInt8](repeating: 0x25, count: count),
                Array(Array("é".utf8) + Array(repeating: Array("日".utf8), count: 100).joined()).prefix(count).map { $0 },
                [UInt8](repeating: 0x80, count: count), [UInt8](repeating: 0, count: count),
            ] {
                for isShadowed in [false, true] {
                    let name = Names.name(of: segment, isShadowed: isShadowed)
                    #expect(isFileName(name))
                    switch Names.query(name) {
                    case .segment(let back): #expect(back == segment && !isShadowed)
                    case .shadowed(let back): #expect(back == segment && isShadowed)
                    case .hashed(let leading, let wasShadowed):
                        #expect(segment.starts(with: leading))
                        #expect(wasShadowed == isShadowed)
                    case nil: Issue.record("no query for a segment of \(count) bytes")
                    }
                }
            }
        }
    }

    @Test("a version id is a file name too, with a slash in it or however long it is, and only version ids have slashes")
    func versionIDs() {
        for id in ["null", "CAEQNRiBgID8rumR2hYi", "3/L4+rmgS", "/", "a/", "../..", ".versions", "%2F", "%~a/b"] {
            let bytes = Array(id.utf8)
            let name = Names.name(of: bytes, isShadowed: false)
            #expect(isFileName(name))
            #expect(Names.query(name, mayHaveSlash: true) == .segment(bytes))
            if id.contains("/") { #expect(Names.query(name) == nil) }
        }
        #expect(Names.name(of: Array("null".utf8), isShadowed: false) == Array("null".utf8))
        let long = Array(String(repeating: "a/", count: 512).utf8)
        let name = Names.name(of: long, isShadowed: false)
        #expect(isFileName(name))
        guard case .hashed(let leading, false) = Names.query(name, mayHaveSlash: true) else {
            Issue.record("a long id is not found by its beginning")
            return
        }
        #expect(!leading.isEmpty && long.starts(with: leading))
        #expect(Names.query(name) == nil)
    }

    @Test("the hash mark is cut between characters, so that a long name stays text")
    func cut() {
        let segment = Array(String(repeating: "日", count: 100).utf8)
        #expect(String(validating: Names.name(of: segment, isShadowed: false), as: UTF8.self) != nil)
        #expect(String(validating: Names.name(of: [0x61] + segment, isShadowed: true), as: UTF8.self) != nil)
    }

    @Test("no two segments share a name", arguments: [UInt64(1), 2, 3])
    func unique(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let alphabet = Array("%~=#250.a\0".utf8)
        var owners: [[UInt8]: (segment: [UInt8], isShadowed: Bool)] = [:]
        for index in 0..<5000 {
            let isLong = index % 10 == 0
            let count = isLong ? Int.random(in: 215...260, using: &generator) : Int.random(in: 0...6, using: &generator)
            let base = isLong ? [UInt8](repeating: 0x61, count: count) : []
            let length = isLong ? 3 : count
            let segment = base + (0..<length).map { _ in alphabet.randomElement(using: &generator) ?? 0 }
            for isShadowed in [false, true] {
                let name = Names.name(of: segment, isShadowed: isShadowed)
                if let owner = owners[name] {
                    #expect(owner.segment == segment && owner.isShadowed == isShadowed)
                }
                owners[name] = (segment, isShadowed)
            }
        }
    }

    @Test("a name that no segment has asks for nothing",
        arguments: ["", ".", "..", "%~a", "%~.txt", "%=%", "%=%2", "%=%zz", "%~%61", "%=%61", "%=a\0"])
    func refused(name: String) { #expect(Names.query(Array(name.utf8)) == nil) }

    private func isFileName(_ name: [UInt8]) -> Bool {
        (1...255).contains(name.count) && !name.contains(0) && !name.contains(UInt8(ascii: "/"))
            && name != [0x2E] && name != [0x2E, 0x2E]
    }
}

@Suite("which object gives way to a directory")
struct NameStreamTests {
    @Test("as a look at all the names at once would tell", arguments: UInt64(1)...20)
    func matchesReference(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let alphabet = Array("a-./0".utf8).filter { $0 != UInt8(ascii: "/") } + [0x01, 0xFF]
        var segments: Set<[UInt8]> = []
        for _ in 0..<60 {
            let bare = (0..<Int.random(in: 0...3, using: &generator)).map { _ in
                alphabet.randomElement(using: &generator) ?? 0x61
            }
            segments.insert(Bool.random(using: &generator) ? bare : bare + [UInt8(ascii: "/")])
        }
        let rows = segments.sorted { $0.lexicographicallyPrecedes($1) }.map(row)
        var stream = NameStream()
        var named: [Found] = []
        for row in rows { stream.take(row, into: &named) }
        stream.finish(into: &named)
        #expect(named.count == rows.count)
        #expect(Set(named.map(\.row.segment)) == segments)
        for entry in named {
            let isShadowed = !entry.row.isDirectory && segments.contains(entry.row.segment + [UInt8(ascii: "/")])
            #expect(entry.isShadowed == isShadowed, "\(ObjectKey(entry.row.segment))")
        }
    }

    @Test("an object is held back only until no directory of its name can follow")
    func holdBack() {
        var stream = NameStream()
        var named: [Found] = []
        func take(_ text: String) -> [String] {
            let before = named.count
            stream.take(row(Array(text.utf8)), into: &named)
            return named[before...].map { String(decoding: $0.row.segment, as: UTF8.self) }
        }
        #expect(take("a").isEmpty)
        #expect(take("a-b").isEmpty)
        #expect(take("a-c") == ["a-b"])
        #expect(take("a/").contains("a/"))
        #expect(take("a0") == [])
        #expect(take("b") == ["a0"])
        stream.finish(into: &named)
        #expect(named.filter(\.isShadowed).map(\.row.segment) == [Array("a".utf8)])
    }

    private func row(_ segment: [UInt8]) -> MetadataRow {
        let record = ObjectRecord(
            sizeBytes: 1, modified: .epoch, etag: "e", storageClass: StorageClass("Standard"))
        return MetadataRow(
            segment: segment, kind: segment.last == UInt8(ascii: "/") ? .directory(nil) : .object(record),
            checkedAt: .epoch)
    }
}

@Suite("inode numbers")
struct InodeNumberTests {
    @Test("a number depends on the parent and the segment only, and never changes between versions")
    func stable() {
        for (segment, parent, expected) in literals {
            #expect(InodeNumber.of(Array(segment.utf8), parent: parent) == expected, "\(segment) in \(parent)")
        }
    }

    private let literals: [(String, UInt64, UInt64)] = [
        ("a", 1, 0x270aeb36a95726cf),
        ("a/", 1, 0x9ec4eb390f3329a1),
        ("", 1, 0x7f555c6a530fdf81),
        ("file.txt", 4660, 0x07f9a8f3dec97e16),
        ("日本", 1, 0x8ecee0f5d3888650),
    ]

    @Test("adding bit by bit is adding at once, and no number means something else to the kernel")
    func incremental() {
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<1000 {
            let segment = generator.bytes(Int.random(in: 0...8, using: &generator))
            let parent = UInt64.random(in: 1...UInt64.max, using: &generator)
            var number = InodeNumber(parent: parent)
            for byte in segment { number.add(CollectionOfOne(byte)) }
            #expect(number.value == InodeNumber.of(segment, parent: parent))
            #expect(number.value > 1)
        }
    }
}
