const f=document.getElementById("code");
if(f){
f.addEventListener("input",()=>{if(f.dataset.length&&!document.getElementById("password")&&f.value.replace(/\D/g,"").length==f.dataset.length)f.form.requestSubmit()});
if("OTPCredential"in window)navigator.credentials.get({otp:{transport:["sms"]}}).then(o=>{if(o){f.value=o.code;f.dispatchEvent(new Event("input"))}}).catch(()=>{})}
