"""Values that texts use as examples and that belong to nobody, and addresses that belong to organizations."""

# Reserved by RFC 2606 and RFC 6761, and names that manuals use.
RESERVED_DOMAINS = ("example", "invalid", "localhost", "test", "local", "localdomain", "internal")
EXAMPLE_DOMAINS = (
    *("example.com", "example.org", "example.net", "example.edu", "domain.com", "email.com"),
    *("company.com", "yourcompany.com", "yourdomain.com", "mydomain.com", "mysite.com", "somewhere.com", "test.com"),
    *("foo.com", "bar.com", "foo.org", "bar.org", "foo.bar", "acme.com", "site.com", "host.com", "server.com"),
    *("placeholder.com", "sample.com", "abc.com", "xyz.com"),
)
# Ends of domains that are rather those of a file; and those that are where only one name stands before them:
# addresses of Paraguay end in .com.py and the like.
FILE_ENDS = frozenset(("zip", "mov"))
FILE_ENDS_OF_TWO = frozenset(("py",))
# What stands before @ where an address is no mailbox: git@github.com.
NO_MAILBOXES = frozenset(
    (
        *("git", "hg", "svn", "noreply", "no-reply", "donotreply", "do-not-reply", "user", "username"),
        *("you", "your.name", "your_name", "yourname", "youremail", "your-email", "your.email", "your_email"),
    )
)

# Numbers that payment services publish for tests.
TEST_CARDS = frozenset(
    (
        *("4111111111111111", "4242424242424242", "4012888888881881", "4000056655665556", "5555555555554444"),
        *("5105105105105100", "5200828282828210", "2223003122003222", "378282246310005", "371449635398431"),
        *("378734493671000", "6011111111111117", "6011000990139424", "30569309025904", "38520000023237"),
        *("3530111333300000", "3566002020360505", "4222222222222", "6200000000000005", "4000000000000002"),
        *("4539578763621486", "5425233430109903", "2222420000001113", "4917484589897107", "374245455400126"),
    )
)
EXAMPLE_IBANS = frozenset(
    (
        *("GB82WEST12345698765432", "GB29NWBK60161331926819", "DE89370400440532013000", "BE68539007547034"),
        *("FR1420041010050500013M02606", "NL91ABNA0417164300", "CH9300762011623852957", "ES9121000418450200051332"),
        *("IT60X0542811101000000123456", "AT611904300234573201", "SE4550000000058398257466", "NO9386011117947"),
        *("DK5000400440116243", "PL61109010140000071219812874", "FI2112345600000785", "GB33BUKB20201555555555"),
    )
)
EXAMPLE_IDS = frozenset(
    ("123456789", "987654321", "111223333", "078051120", "219099999", "457555462", "12345678Z", "00000000T")
)
PUBLIC_SERVERS = frozenset(
    (
        *("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "149.112.112.112", "208.67.222.222", "208.67.220.220"),
        *("1.2.3.4", "4.3.2.1", "5.6.7.8", "2001:4860:4860::8888", "2001:4860:4860::8844"),
        *("2606:4700:4700::1111", "2606:4700:4700::1001"),
    )
)
# Addresses of organizations in licences, and of fiction, in lower case.
KNOWN_ADDRESSES = (
    *("59 temple place", "51 franklin st", "675 mass ave", "31 milk street", "171 second street", "543 howard"),
    *("444 castro", "559 nathan abbott", "1600 pennsylvania ave", "1600 amphitheatre", "1 infinite loop"),
    *("one microsoft way", "221b baker st", "10 downing st", "742 evergreen terrace", "4 privet drive"),
    *("123 main st", "123 elm st", "123 any st", "123 fake st", "1234 main st", "123 anywhere st", "musterstr"),
)
