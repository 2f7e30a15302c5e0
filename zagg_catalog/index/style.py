"""Style and script of the page of an index."""

STYLE = """
:root{color-scheme:light dark;--text:#1c2024;--soft:#555d66;--back:#fff;--line:#d5d9de;
--link:#0b57a4;
--open:#eef0f2;--filling:#dcebfa;--settled:#d5efdf;--revised:#ecdff7;--overdue:#fde8c4;
--incomplete:#fbdad5;--unknown:#fff;--open-mark:#59626b;--filling-mark:#1f62a8;
--settled-mark:#17703f;--revised-mark:#6f3a99;--overdue-mark:#8a5000;--incomplete-mark:#a52a1c;
--unknown-mark:#59626b;--mark:#fff}
@media(prefers-color-scheme:dark){:root{--text:#e6e8ea;--soft:#a9b1ba;--back:#16191c;--line:#3a4047;
--link:#8ec2f5;--open:#24292e;--filling:#172f47;--settled:#143524;--revised:#322044;--overdue:#402c0a;
--incomplete:#471d17;--unknown:#16191c;--open-mark:#b4bcc4;--filling-mark:#8ec2f5;
--settled-mark:#83d6a6;--revised-mark:#cfa8ee;--overdue-mark:#f2bd63;--incomplete-mark:#f5a296;
--unknown-mark:#b4bcc4;--mark:#101214}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:80rem;background:var(--back);color:var(--text);
font:1rem/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.2rem;margin:2rem 0 .5rem}
h3{font-size:1rem;margin:1.5rem 0 .5rem}
#as-of,.note{margin:.25rem 0;color:var(--soft)}time{white-space:nowrap}
a{color:var(--link)}
small,dt{color:var(--soft)}
code{overflow-wrap:anywhere}
.warning{border-left:.25rem solid var(--overdue-mark);background:var(--overdue);padding:.5rem 1rem}
ul.warning{padding-left:2rem}
.legend{list-style:none;margin:0;padding:0;display:grid;gap:.25rem 1.5rem;
grid-template-columns:repeat(auto-fill,minmax(min(24rem,100%),1fr))}
.badge{display:inline-block;width:1.4em;text-align:center;font-weight:700;border-radius:.25em;
margin-right:.35em;color:var(--mark)}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.scroll{overflow-x:auto;position:relative}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.note{font-size:.9rem}
th,td{border:1px solid var(--line);padding:.3rem .6rem;text-align:left;vertical-align:top}
thead th{white-space:nowrap}
tbody th{font-weight:600}
.scroll>table>thead th:first-child,.scroll>table>tbody th{position:sticky;left:0;z-index:1;
background:var(--back)}
td small{display:block;color:var(--text);white-space:nowrap}
td a{white-space:nowrap}
.number{text-align:right}
details{border-bottom:1px solid var(--line);padding:.3rem 0}
summary{cursor:pointer}
dl{display:grid;grid-template-columns:minmax(6rem,max-content) 1fr;
gap:.25rem 1rem;margin:.5rem 0 .75rem}
dd{margin:0;min-width:0;overflow-wrap:anywhere}
dd ul{margin:0;padding-left:1.2rem}
details .scroll{margin-bottom:.75rem}
:target{outline:2px solid var(--link);outline-offset:2px}
@media(max-width:30rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}}
@media print{body{max-width:none;padding:0}.scroll{overflow:visible}
details:not([open]),h3{display:none}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
""" + "".join(
    f"td.state-{one}{{background:var(--{one})}}.badge.state-{one}{{background:var(--{one}-mark)}}\n"
    for one in ("open", "filling", "settled", "revised", "overdue", "incomplete", "unknown")
)

# What is older than the limit must not look current; a link to a cycle opens its details.
SCRIPT = """
(function(){
var limit=2*864e5,made=Date.parse(document.querySelector('#as-of time').dateTime);
function show(){
var age=Date.now()-made,hours=Math.floor(age/36e5),days=Math.floor(hours/24);
if(age<0)return;
var text=days>1?days+' days ago':
hours>0?hours+(hours>1?' hours':' hour')+' ago':'less than an hour ago';
document.getElementById('age').textContent=', '+text;
if(age>limit){var note=document.getElementById('stale');note.hidden=false;
note.textContent='This page was renewed '+text+'. States change with time: look again'+
' after the next run, or renew it with zagg-catalog release index.'}}
function open(){var at=document.getElementById(decodeURIComponent(location.hash.slice(1)));
if(at&&at.tagName==='DETAILS'){at.open=true;at.scrollIntoView()}}
show();open();setInterval(show,6e5);addEventListener('hashchange',open);
})();
"""
