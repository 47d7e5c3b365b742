"use strict";
history.replaceState(null,"",location.href);
document.addEventListener("submit",e=>{const b=e.target.querySelector("button");if(b.disabled)e.preventDefault();else setTimeout(()=>b.disabled=true)});
addEventListener("pageshow",e=>{if(e.persisted)location.reload()});
for(const n of document.querySelectorAll(".note"))n.scrollIntoView({block:"nearest"});
for(const t of document.querySelectorAll("time[data-left]")){
const end=Date.now()+t.dataset.left*1e3,two=n=>String(n).padStart(2,"0"),go=()=>{const s=Math.max(0,Math.round((end-Date.now())/1e3)),h=s/3600|0,m=s/60%60|0;
t.textContent=(h?h+":"+two(m):m)+":"+two(s%60);if(s)setTimeout(go,1e3);else if("over"in t.dataset)setTimeout(()=>location.reload(),3e3)};
if(t.dataset.left<86400)go()}
const w=document.querySelector("[data-state]"),look=async()=>{if(!w.value)try{const a=await fetch("/state",{cache:"no-store"});if(a.ok&&(await a.json()).state!=w.dataset.state)return location.replace(location.origin+location.pathname)}catch{}setTimeout(look,"value"in w?5e3:2e3)};
if(w&&location.protocol!="file:")setTimeout(look,1e3);
